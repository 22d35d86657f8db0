// Package queue is the data file: alarms, diagnosis jobs and the outbox in one
// bbolt file that survives power cuts.
//
// Everything that must happen together is one commit. An alarm costs four of
// them when it comes alone, and a few for hundreds in a storm:
//
//	TX 1  Record    alarm, evidence, hint, job, outbox
//	TX 2  Lease     job running, case frozen
//	TX 3  Complete  job, calls, spend, outbox
//	TX 4  Confirm   cursor of a destination
//
// One goroutine commits. It has no timer: operations that arrive while a commit
// runs share the next one, each is checked against memory before the
// transaction, and each is answered after it. A healthy scan writes nothing.
//
// A commit is a frame in the journal beside the file, with one write and one
// sync. What is in it is put into a transaction of bbolt that is held open, and
// which everybody reads; to commit that is a checkpoint, after which the journal
// begins anew in its next part. The keeper makes it beside the committer. At open
// the frames that the file does not have yet are put into it. See frame.go,
// journal.go, checkpoint.go, keeper.go, docs/adr/0007.
//
// The recorder of cmd/edgeagent records, diagnose leases and completes, sync
// sends, the pages read. After a kill -9, or a power cut on a disk that keeps
// what it has synced, everything that was answered is there and nothing is there
// by halves: jobs that were running are pending again and count an interrupt, no
// completed one is leased again, and no number of a stream is used twice.
//
// What people said of an alarm outlives it: a record for each alarm that was ever
// judged, with its last precedents and the counts of verdicts. It lies among the
// bodies, part "m" under an id of time zero that is made of the alarm's name, so
// that nothing has to know of it: older versions pass it by, backup, compaction
// and upgrade take it along, salvage keeps it, and no retention reaches it. The
// answer of a review is part "r" of its job; the review under way, and what
// reviews cost that day, are the record "review" of bucket m, which is there only
// where something was ever reviewed.
//
// Every record carries its own key, a revision and a CRC-32C, because bbolt has
// no page checksums: a flipped bit must never come back as a wrong value. That all
// of them are there, and none is one of before, shows in the balance of the file,
// see balance.go and docs/adr/0008.
package queue
