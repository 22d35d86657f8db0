package exports

import "strings"

const maxCode = 64

// code makes an alarm code of any text: letters, digits and . _ : + - stay.
func code(original string) string {
	var b strings.Builder
	gap := false
	for _, r := range spelled.Replace(original) {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (b.Len() == 0 || !strings.ContainsRune("._:+-", r)) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('_')
		}
		gap = false
		if b.WriteRune(r); b.Len() >= maxCode {
			break
		}
	}
	return b.String()[:min(b.Len(), maxCode)]
}

// coder gives each alarm code once: a code names one alarm of a device.
type coder map[string]bool

func (c coder) claim(want string) (string, bool) {
	if want == "" || c[want] {
		return want, false
	}
	c[want] = true
	return want, true
}
