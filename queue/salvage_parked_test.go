package queue_test

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// What was refused, sent again and stored must not come back as refused after a
// salvage: pages not in use remember it, and nobody would ever clear it again.
func TestGhostsOfRefusedEventsStayDead(t *testing.T) {
	o := options(dataFile(t))
	db, refused := refusing(t, o, 8)
	if err := db.FillAndDrain(t.Context(), 600); err != nil { // room for ghosts
		t.Fatal(err)
	}
	resend(t, db, "historian", 4)
	ghosts := pagesOfRefusals(t, o.Path, db)
	db = open(t, o)
	if err := db.Unpark(t.Context(), "historian", refused); err != nil {
		t.Fatal(err)
	}
	ev := lateRefusal(t, db)
	haunt(t, o.Path, db, ghosts)
	db = open(t, o)
	if s := db.Storage(); s.State != edgeagent.StorageSalvaged {
		t.Fatalf("storage is %s, want a salvage", s.State)
	}
	all := parkedOf(t, db)
	if len(all) != 1 || all[0].Sequence != ev.Sequence {
		t.Errorf("%d are refused, want alarm %d alone", len(all), ev.Sequence)
	}
	for _, e := range all {
		if e.Sequence != ev.Sequence {
			t.Errorf("%s %d is stored and comes back as refused, asked by %q", e.Stream, e.Sequence, e.AskedBy)
		}
	}
}

// lateRefusal returns an event that was refused and not sent again.
func lateRefusal(t *testing.T, db *queue.DB) edgeagent.Outgoing {
	t.Helper()
	record(t, db, raise("L", "B1", 2))
	ev := pending(t, db, "historian")[0]
	if err := db.Park(t.Context(), "historian", ev, edgeagent.NewNote("refused_upstream", "422")); err != nil {
		t.Fatal(err)
	}
	return ev
}

// pagesOfRefusals closes a file and returns its pages that hold refusals.
func pagesOfRefusals(t *testing.T, path string, db *queue.DB) (found [][]byte) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for p := range slices.Chunk(readFile(t, path), newPage) {
		if bytes.Contains(p, []byte("p/historian")) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		t.Fatal("nothing is refused")
	}
	return found
}

// haunt closes a file, puts pages of before where nothing is in use, and takes
// the root away.
func haunt(t *testing.T, path string, db *queue.DB, ghosts [][]byte) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	pages, err := queue.PagesOf(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := readFile(t, path)
	for i, ghost := range ghosts {
		copy(whole[pages.Free[len(pages.Free)-1-i]*newPage:], ghost)
	}
	clear(whole[pages.Root*newPage:][:newPage])
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}
