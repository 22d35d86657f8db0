package alarm

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"edgeagent"
	"edgeagent/internal/spelling"
)

// UnknownMode is the mode of a line when none of its modes is true, or when
// their values are not known. Every alarm may rise in it.
const UnknownMode = "unknown"

// modePrefix marks in suppressed_by what a mode suppresses.
const modePrefix = "mode:"

// muteSettle is what keeps a rule quiet while its line settles.
const muteSettle = "settle"

// CheckMode compiles the condition of a line's mode: as [Check], but tags of any
// device are named DEVICE.TAG. The error says where and what to do.
func CheckMode(expression string, tags []edgeagent.Tag) error {
	_, err := newPlantTags(tags).compile(expression)
	return err
}

// lineModes is the modes of one line at work.
type lineModes struct {
	line       string
	modes      []lineMode
	signals    []*signal
	rules      []*rule // that the mode concerns
	now        string
	known      string    // the last that was not unknown
	freshUntil time.Time // when a value will have grown stale
	// awaited is until when, after a start, the mode is awaited whose values have
	// not been read yet; zero: it is not. What it may suppress does not rise.
	awaited time.Time
}

type lineMode struct {
	name string
	when *condition
}

// Mode returns the mode of a line, [UnknownMode] included; empty for a line that
// has no modes.
func (e *Engine) Mode(line string) string {
	if m := e.modes[line]; m != nil {
		return m.now
	}
	return ""
}

func (e *Engine) addModes(line string, modes []Mode, plant *plantTags) error {
	m := &lineModes{line: line, now: UnknownMode, awaited: e.options.At.Add(settling)}
	for _, def := range modes {
		c, err := plant.compile(def.When)
		if err != nil {
			return fmt.Errorf("line %s: mode %s: %q: %w", line, def.Name, def.When, err)
		}
		m.modes = append(m.modes, lineMode{def.Name, c})
		m.signals = append(m.signals, union(c)...)
	}
	for _, s := range m.signals {
		if w := e.of(s.tag); !slices.Contains(w.lines, m) {
			w.lines = append(w.lines, m)
		}
		if s.rateAsked {
			e.rated[s.tag.Device] = true
		}
	}
	e.modes[line] = m
	return nil
}

// lines brings the modes of lines up to date.
func (p *pass) lines(of []*lineModes) {
	for _, m := range of {
		now, sure := p.modeOf(m)
		if p.reached(m.awaited) || sure && (now != m.now || !m.awaited.IsZero()) {
			m.awaited = time.Time{}
			p.enter(m, now)
		}
	}
}

// modeOf evaluates the modes in their order. It is not sure while a value is
// merely unanswered for a moment: a lost packet is no change of mode. Where a
// value is missing the mode may be this one, so that it is unknown.
func (p *pass) modeOf(m *lineModes) (name string, sure bool) {
	m.freshUntil = time.Time{}
	for _, s := range m.signals {
		if s.load(p.view, p.now) || s.held {
			m.freshUntil = earlier(m.freshUntil, s.fresh)
		}
	}
	m.freshUntil = p.ahead(m.freshUntil)
	awaited := !m.awaited.IsZero() && !p.reached(m.awaited)
	if awaited {
		m.freshUntil = earlier(m.freshUntil, m.awaited)
	}
	for _, mode := range m.modes {
		usable, held := standing(mode.when.signals)
		if !usable && held || awaited && mode.when.unread() {
			return m.now, false
		}
		if !usable || !mode.when.rated() {
			return UnknownMode, true
		}
		holds, known := mode.when.holds()
		if !known {
			return UnknownMode, true
		}
		if holds {
			return mode.name, true
		}
	}
	return UnknownMode, true
}

// enter changes the mode of a line. The first one that is known was not entered
// now, nor was one that comes back after its values were lost.
func (p *pass) enter(m *lineModes, name string) {
	entered := name != UnknownMode && m.known != "" && m.known != name
	m.now = name
	if name != UnknownMode {
		m.known = name
	}
	for _, r := range m.rules {
		switch {
		case !r.activeIn(name):
			r.settleUntil = time.Time{}
		case entered && r.Settle > 0:
			r.settleUntil = p.now.Add(r.Settle)
		}
		p.stir(r.Device)
		p.enqueue(r)
	}
}

// awaitModes looks at the modes that are awaited: their values may be known from
// before a reload, and who is read first must not rise meanwhile.
func (p *pass) awaitModes() {
	for _, m := range p.engine.modes {
		if !m.awaited.IsZero() {
			p.lines([]*lineModes{m})
		}
	}
}

// activeIn reports whether the rule may raise in a mode.
func (r *rule) activeIn(mode string) bool {
	return len(r.ActiveIn) == 0 || mode == UnknownMode || slices.Contains(r.ActiveIn, mode)
}

// awaited reports whether the mode of the rule's line is, after a start.
func (r *rule) awaited() bool { return r.modes != nil && !r.modes.awaited.IsZero() }

// byMode names the mode that suppresses the rule, empty if it does not.
func (r *rule) byMode() string {
	if r.modes == nil || r.activeIn(r.modes.now) {
		return ""
	}
	return modePrefix + r.modes.now
}

// plantTags finds the tags of all devices.
type plantTags struct {
	*scope
	devices map[string]map[string]edgeagent.Tag
}

func newPlantTags(tags []edgeagent.Tag) *plantTags {
	p := &plantTags{scope: emptyScope(""), devices: map[string]map[string]edgeagent.Tag{}}
	for _, t := range tags {
		if p.devices[t.Device] == nil {
			p.devices[t.Device] = map[string]edgeagent.Tag{}
		}
		p.devices[t.Device][t.Name] = t
	}
	return p
}

// Device names hold hyphens and may begin with a digit, which the language
// would take apart. Within an expression each DEVICE.TAG is one identifier of
// as many letters, so that columns in errors stay true.
var (
	dotted  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|` + "`[^`]*`" + `|[a-z0-9_-]+\.[a-z_][a-z0-9_]*`)
	letters = strings.NewReplacer(".", "ǃ", "-", "ǀ", "0", "ａ", "1", "ｂ", "2", "ｃ", "3", "ｄ", "4", "ｅ", "5", "ｆ", "6", "ｇ", "7", "ｈ", "8", "ｉ", "9", "ｊ")
	back    = strings.NewReplacer("ǃ", ".", "ǀ", "-", "ａ", "0", "ｂ", "1", "ｃ", "2", "ｄ", "3", "ｅ", "4", "ｆ", "5", "ｇ", "6", "ｈ", "7", "ｉ", "8", "ｊ", "9")
)

// compile binds a mode's expression to the signals of the plant.
func (p *plantTags) compile(expression string) (*condition, error) {
	if utf8.RuneCountInString(expression) > maxExpression {
		return nil, tooLong(expression)
	}
	var unknown error
	plain := dotted.ReplaceAllStringFunc(expression, func(found string) string {
		if strings.ContainsRune("\"'`", rune(found[0])) {
			return found
		}
		text, err := p.identifier(found)
		if err != nil && unknown == nil {
			unknown = err
		}
		return text
	})
	if unknown != nil {
		return nil, unknown
	}
	c, err := p.scope.compile(plain)
	if err != nil {
		return nil, errors.New(back.Replace(err.Error()))
	}
	return c, nil
}

// identifier turns DEVICE.TAG into an identifier of the scope. What stands
// before the device, as in 5-filler.state, stays.
func (p *plantTags) identifier(found string) (string, error) {
	whole, name, _ := strings.Cut(found, ".")
	before, device := "", whole
	for p.devices[device] == nil {
		i := strings.IndexByte(device, '-')
		if i < 0 {
			return found, fmt.Errorf("%s: %s", found, p.unknownDevice(whole))
		}
		before, device = before+device[:i+1], device[i+1:]
	}
	tag, ok := p.devices[device][name]
	if !ok {
		of := newScope(slices.SortedFunc(maps.Values(p.devices[device]), func(a, b edgeagent.Tag) int { return cmp.Compare(a.Name, b.Name) }))
		return found, fmt.Errorf("%s: %s", found, of.unknown(name))
	}
	id := letters.Replace(device + "." + name)
	if _, known := p.find(id); !known {
		p.add(id, tag)
	}
	return before + id, nil
}

func (p *plantTags) unknownDevice(name string) string {
	names := slices.Sorted(maps.Keys(p.devices))
	if best := spelling.Nearest(name, names); best != "" {
		return fmt.Sprintf("unknown device %q; did you mean %q?", name, best)
	}
	return fmt.Sprintf("unknown device %q; there are %s", name, strings.Join(names[:min(len(names), 8)], ", "))
}
