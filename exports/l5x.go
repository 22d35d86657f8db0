package exports

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edgeagent"
)

// logixTypes are the types of a Logix controller as OPC UA tells them.
var logixTypes = map[string]edgeagent.DataType{
	"BOOL": edgeagent.TypeBool, "SINT": edgeagent.TypeInt16, "USINT": edgeagent.TypeUint16, "INT": edgeagent.TypeInt16, "UINT": edgeagent.TypeUint16,
	"DINT": edgeagent.TypeInt32, "UDINT": edgeagent.TypeUint32, "LINT": edgeagent.TypeInt64, "ULINT": edgeagent.TypeUint64,
	"REAL": edgeagent.TypeFloat32, "LREAL": edgeagent.TypeFloat64, "STRING": edgeagent.TypeString,
}

// words are the integers whose bits may be alarms, and how many they have. A
// SINT is none: widened to 16 bits, its sign would set eight bits that are not there.
var words = map[string]int{"INT": 16, "DINT": 32, "USINT": 8, "UINT": 16, "UDINT": 32}

// l5xTag is what is read of a tag. The rest of a project, its logic above all,
// is passed over.
type l5xTag struct {
	Name           string        `xml:"Name,attr"`
	TagType        string        `xml:"TagType,attr"`
	DataType       string        `xml:"DataType,attr"`
	Dimensions     string        `xml:"Dimensions,attr"`
	AliasFor       string        `xml:"AliasFor,attr"`
	ExternalAccess string        `xml:"ExternalAccess,attr"`
	Description    l5xText       `xml:"Description"`
	Comments       []l5xComment  `xml:"Comments>Comment"`
	Digital        *l5xDigital   `xml:"Data>AlarmDigitalParameters"`
	Analog         *l5xAnalog    `xml:"Data>AlarmAnalogParameters"`
	Messages       []l5xMessages `xml:"Data>AlarmConfig>Messages>Message"`
}

// l5xText is a text, or one a language.
type l5xText struct {
	Text      string         `xml:",chardata"`
	Localized []l5xLocalized `xml:"LocalizedDescription"`
}

type l5xLocalized struct {
	Lang string `xml:"Lang,attr"`
	Text string `xml:",chardata"`
}

type l5xComment struct {
	Operand   string         `xml:"Operand,attr"`
	Text      string         `xml:",chardata"`
	Localized []l5xLocalized `xml:"LocalizedComment"`
}

type l5xDigital struct {
	Severity string `xml:"Severity,attr"`
}

type l5xAnalog struct {
	Attrs []xml.Attr `xml:",any,attr"`
}

type l5xMessages struct {
	Type  string         `xml:"Type,attr"`
	Texts []l5xLocalized `xml:"Text"`
}

// readL5X reads the tags of a controller and of its programs.
func readL5X(in *reading) error {
	if in.options.Node == "" {
		return errors.New("a project does not say how an OPC UA server names the controller's tags; look with edgeagent browse and give --node, such as \"ns=2;s=[PLC]{tag}\"")
	}
	text, _ := decode(in.data)
	d := xml.NewDecoder(bytes.NewReader(text))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // decoded already
	l := &l5x{reading: in, dec: d, codes: coder{}}
	if err := l.walk(); err != nil {
		line, column := d.InputPos()
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	l.notes()
	return nil
}

type l5x struct {
	*reading
	dec    *xml.Decoder
	codes  coder
	alarms int
	words  []string
}

func (l *l5x) walk() error {
	program, project := "", false
	for {
		token, err := l.dec.Token()
		if errors.Is(err, io.EOF) && project {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read project: %w", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "RSLogix5000Content":
				project = true
			case "Program":
				program = attr(e, "Name")
			case "Tag":
				if err := l.tag(program, e); err != nil {
					return err
				}
			}
			if !project {
				return fmt.Errorf("it begins with %q, a project with RSLogix5000Content", oneLine(e.Name.Local, 60))
			}
		case xml.EndElement:
			if e.Name.Local == "Program" {
				program = ""
			}
		}
	}
}

func (l *l5x) tag(program string, e xml.StartElement) error {
	line, _ := l.dec.InputPos()
	var t l5xTag
	if err := l.dec.DecodeElement(&t, &e); err != nil {
		return fmt.Errorf("read tag: %w", err)
	}
	name := t.Name
	if program != "" {
		name = "Program:" + program + "." + name
	}
	switch {
	case t.ExternalAccess == "None":
		l.skip(line, name, "its external access is None")
	case t.Dimensions != "":
		l.skip(line, name, "it is an array of %s; its elements are nodes of their own: list them with browse", oneLine(t.Dimensions, 20))
	case t.AliasFor != "" || t.TagType == "Alias":
		l.skip(line, name, "it is an alias of %s, whose type is not said here", oneLine(t.AliasFor, 80))
	case t.DataType == "ALARM_DIGITAL" && t.Digital != nil:
		l.alarm(line, name, &t, "InAlarm", "AM", t.Digital.Severity)
	case t.DataType == "ALARM_ANALOG" && t.Analog != nil:
		l.analog(line, name, &t)
	default:
		l.value(line, name, &t)
	}
	return nil
}

func (l *l5x) value(line int, name string, t *l5xTag) {
	typ, known := logixTypes[t.DataType]
	if !known {
		l.skip(line, name, "%s is a structure; its members are nodes of their own: list them with browse", oneLine(t.DataType, 60))
		return
	}
	if tag, ok := l.add(Tag{Line: line, Source: name, Address: l.node(name), Type: typ, Comment: l.plainText(t.Description.Text, t.Description.Localized)}); ok {
		l.bits(line, tag, t)
	}
}

// add takes a tag and returns its name.
func (l *l5x) add(t Tag) (string, bool) {
	before := len(l.result.Tags)
	l.take(t)
	if len(l.result.Tags) == before {
		return "", false
	}
	return l.result.Tags[before].Name, true
}

var bitOperand = regexp.MustCompile(`^\.(\d{1,2})$`)

// bits takes comments on single bits of an integer: that is where the texts of
// an alarm word are kept.
func (l *l5x) bits(line int, tag string, t *l5xTag) {
	for _, c := range t.Comments {
		m := bitOperand.FindStringSubmatch(c.Operand)
		if m == nil {
			continue
		}
		bit, _ := strconv.Atoi(m[1])
		texts := l.languages(c.Text, c.Localized)
		if bit >= words[t.DataType] || len(texts) == 0 {
			continue
		}
		name, ok := l.codes.claim(code(tag + "." + m[1]))
		if !ok {
			continue
		}
		if len(l.result.Texts[tag]) == 0 {
			l.words = append(l.words, tag)
		}
		l.result.Texts[tag] = append(l.result.Texts[tag], Text{Line: line, Key: KeyBit, Number: int64(bit), Code: name, Texts: texts})
	}
}

// alarm makes a tag of the member that tells an alarm instruction's state, and
// an alarm of it.
func (l *l5x) alarm(line int, name string, t *l5xTag, member, message, severity string) {
	texts := map[string]string{}
	for _, m := range t.Messages {
		if m.Type == message {
			texts = l.languages("", m.Texts)
		}
	}
	if len(texts) == 0 {
		texts = l.languages(t.Description.Text, t.Description.Localized)
	}
	if len(texts) == 0 {
		texts = map[string]string{l.options.Language: oneLine(name+" "+member, maxText)}
	}
	c, ok := l.codes.claim(code(strings.TrimSuffix(name+"."+member, ".InAlarm")))
	if !ok {
		l.skip(line, name, "another alarm has its name")
		return
	}
	tag, ok := l.add(Tag{Line: line, Source: name + "." + member, Address: l.node(name + "." + member), Type: edgeagent.TypeBool})
	if !ok {
		return
	}
	l.alarms++
	l.result.Alarms = append(l.result.Alarms, Alarm{Line: line, Tag: tag, Code: c, When: tag, Priority: band(severity), Texts: texts})
}

// analog takes the limits of an analog alarm that are switched on.
func (l *l5x) analog(line int, name string, t *l5xTag) {
	on := func(attribute string) string {
		i := slices.IndexFunc(t.Analog.Attrs, func(a xml.Attr) bool { return a.Name.Local == attribute })
		if i < 0 {
			return ""
		}
		return t.Analog.Attrs[i].Value
	}
	none := true
	for _, limit := range []string{"HH", "H", "L", "LL"} {
		if on(limit+"Enabled") == "true" {
			none = false
			l.alarm(line, name, t, limit+"InAlarm", limit, on(limit+"Severity"))
		}
	}
	if none {
		l.skip(line, name, "none of its limits is switched on")
	}
}

// band turns a severity from 1 to 1000 into a priority by the controller's own
// four bands: urgent, high, medium, low. 0 is none.
func band(severity string) int {
	n, err := strconv.Atoi(severity)
	if err != nil || n < 1 || n > 1000 {
		return 0
	}
	return 4 - (n-1)/250
}

func (l *l5x) languages(text string, localized []l5xLocalized) map[string]string {
	out := map[string]string{}
	for _, x := range localized {
		language, _, _ := strings.Cut(strings.ToLower(x.Lang), "-")
		if len(language) != 2 || strings.Trim(language, "abcdefghijklmnopqrstuvwxyz") != "" {
			language = l.options.Language
		}
		if clean := oneLine(x.Text, maxText); clean != "" && out[language] == "" {
			out[language] = clean
		}
	}
	if clean := oneLine(text, maxText); clean != "" && len(out) == 0 {
		out[l.options.Language] = clean
	}
	return out
}

// plainText is one text: the wanted language's if there are several.
func (l *l5x) plainText(text string, localized []l5xLocalized) string {
	all := l.languages(text, localized)
	if s, ok := all[l.options.Language]; ok {
		return s
	}
	for _, language := range languagesOf([]Text{{Texts: all}}) {
		return all[language]
	}
	return ""
}

func (l *l5x) notes() {
	if len(l.result.Tags) > 0 {
		l.note("nodes were made by the template %s; compare one with edgeagent browse", oneLine(l.options.Node, 120))
	}
	if l.alarms > 0 {
		l.note("%d alarms were made of alarm instructions, with priorities by the controller's bands of severity: 1 from 751, 2 from 501, 3 from 251, 4 below", l.alarms)
	}
	for _, tag := range l.words {
		l.note("%s has comments on %d of its bits; they are texts for an alarm_word, if it is one", tag, len(l.result.Texts[tag]))
	}
}
