package opcua

// limits is how many items the server takes in one message of each kind, at
// most our own caps: a server without a limit still has a buffer.
type limits struct {
	read    int
	browse  int
	monitor int // monitored items created in one call
}

// ownLimits hold where a server says nothing, or that it takes everything.
var ownLimits = limits{read: 1000, browse: 100, monitor: 1000}
