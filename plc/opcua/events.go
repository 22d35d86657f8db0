package opcua

// Events say which alarms and conditions of a server are followed.
type Events struct {
	Source      string // the notifier, usually the server: "i=2253"
	MinSeverity int
	Priorities  [4]int // [i-1] is the lowest severity of priority i; 0: unused
	// CodeFrom names the field that is the alarm's code: a browse name of the
	// condition ("ConditionName", "SourceName"), or two joined by a dot.
	CodeFrom string
}
