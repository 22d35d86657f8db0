package exports

// Collect makes a tag list of what was found by other means than a file, such
// as browsing a server: names are derived from Source and made unique, and what
// cannot be read as it stands is skipped with its reason.
func Collect(found []Tag) *Result {
	in := &reading{names: namer{}, noted: map[string]bool{}, result: newResult()}
	for i, t := range found {
		t.Line = i + 1
		in.take(t)
	}
	in.finish()
	return in.result
}
