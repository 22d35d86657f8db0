package edgeagent

// Accuracy counts how people judged the diagnoses of one model of one provider.
// A verdict that was changed counts once, as it is now.
type Accuracy struct {
	Provider string `json:"provider"`
	Model    string `json:"model"` // empty for the runbook
	Right    int    `json:"right"`
	Partly   int    `json:"partly"`
	Wrong    int    `json:"wrong"`
}

// Judged returns how many diagnoses were judged.
func (a Accuracy) Judged() int { return a.Right + a.Partly + a.Wrong }

// Memory is what people said of one alarm over all its activations. It outlives
// the alarms and jobs themselves.
type Memory struct {
	Device string      `json:"device"`
	Line   string      `json:"line"`
	Code   string      `json:"code"`
	Before []Precedent `json:"before"` // confirmed ones first, then the newest
	Judged []Accuracy  `json:"judged"` // by provider and model
}

// Latest returns the newest answer of a job: the last review, else its
// diagnosis; nil without any.
func (j Job) Latest() *Diagnosis {
	if n := len(j.Reviews); n > 0 {
		return &j.Reviews[n-1]
	}
	return j.Diagnosis
}
