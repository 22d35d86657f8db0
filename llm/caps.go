package llm

// Reasons why money may not be spent.
const (
	capJob = "job cap reached"
	capDay = "daily cap reached"
)

// reserve sets aside what req can cost at most, or returns why it may not be
// spent. A provider without a price costs nothing and is never refused.
func (u *turn) reserve(req Request) (usd float64, reason string) {
	worst := u.t.o.Price.Cost(req.estimate(), req.MaxOutputTokens, 0)
	if worst == 0 {
		return 0, ""
	}
	if u.overJobCap(worst) {
		return 0, capJob
	}
	if u.o.Ledger == nil {
		return worst, ""
	}
	if u.o.Ledger.Reserve(u.c.Job, worst) != nil {
		return 0, capDay
	}
	return worst, ""
}

// settle books what a reserved request did cost.
func (u *turn) settle(reserved, actual float64) {
	if reserved > 0 && u.o.Ledger != nil {
		u.o.Ledger.Settle(u.c.Job, reserved, actual)
	}
}

// overCap returns which cap leaves no money for even a small request to t, before
// time is lost on waiting for it.
func (r *run) overCap(t *tier) string {
	least := t.o.Price.Cost(minPromptTokens, 0, 0)
	switch {
	case least == 0:
	case r.overJobCap(least):
		return capJob
	case r.o.Ledger == nil:
	case r.o.Ledger.Reserve(r.c.Job, least) != nil:
		return capDay
	default:
		r.o.Ledger.Settle(r.c.Job, least, 0)
	}
	return ""
}

// overJobCap reports whether usd more would exceed what one job may cost.
func (r *run) overJobCap(usd float64) bool {
	return r.o.JobCapUSD > 0 && r.spent+usd > r.o.JobCapUSD
}
