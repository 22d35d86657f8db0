package eval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// File keeps answers, a JSON object a line, as they come: an evaluation that is
// broken off is paid for.
type File struct{ f *os.File }

// OpenFile opens the file at path, or makes it, and returns the answers in it. A
// last line that was cut off is left out; any other that cannot be read is an
// error: somebody else's file is not written to.
func OpenFile(path string) (*File, []Answer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the file of answers: %w", err)
	}
	answers, err := readAnswers(f, path)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &File{f}, answers, nil
}

func readAnswers(f *os.File, path string) ([]Answer, error) {
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read the file of answers: %w", err)
	}
	var all []Answer
	for n, line := range bytes.SplitAfter(data, []byte("\n")) {
		whole := bytes.HasSuffix(line, []byte("\n"))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var a Answer
		if err := json.Unmarshal(line, &a); err != nil || a.Item == "" || a.Provider == "" {
			if !whole && cutOff(line) {
				break
			}
			return nil, fmt.Errorf("%s:%d: no answer of an evaluation; name another file with --out", path, n+1)
		}
		all = append(all, a)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		if err := dropCut(f, data); err != nil {
			return nil, fmt.Errorf("end the last line of %s: %w", path, err)
		}
	}
	return all, nil
}

// opening is how every line of the file begins.
const opening = `{"item":`

// cutOff tells a line of ours that was not written whole from a file of another
// kind.
func cutOff(line []byte) bool {
	n := min(len(line), len(opening))
	return string(line[:n]) == opening[:n] && !json.Valid(line)
}

// dropCut cuts off the last line, which was not written whole, unless it can be
// read: then only its end is missing.
func dropCut(f *os.File, data []byte) error {
	begin := bytes.LastIndexByte(data, '\n') + 1
	if json.Valid(data[begin:]) {
		_, err := f.WriteString("\n")
		return err
	}
	return f.Truncate(int64(begin))
}

// Add writes an answer to the end of the file and waits for the disk. A nil file
// keeps nothing.
func (f *File) Add(a Answer) error {
	if f == nil {
		return nil
	}
	line, err := json.Marshal(a)
	if err == nil {
		_, err = f.f.Write(append(line, '\n'))
	}
	if err == nil {
		err = f.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("keep an answer: %w", err)
	}
	return nil
}

// Close closes the file; what was added is on the disk already.
func (f *File) Close() {
	if f != nil {
		_ = f.f.Close()
	}
}
