package exports

import (
	"fmt"
	"regexp"
	"strings"

	"edgeagent"
)

// siemensNode is where an S7-1500 or S7-1200 keeps its variables.
const siemensNode = `nsu=http://www.siemens.com/simatic-s7-opcua;s={tag}`

// siemensTypes are the types of the controller as its OPC UA server tells them.
// One byte is read as 16 bits, which hold it.
var siemensTypes = map[string]edgeagent.DataType{
	"bool": edgeagent.TypeBool, "byte": edgeagent.TypeUint16, "word": edgeagent.TypeUint16,
	"dword": edgeagent.TypeUint32, "lword": edgeagent.TypeUint64,
	"sint": edgeagent.TypeInt16, "usint": edgeagent.TypeUint16, "int": edgeagent.TypeInt16, "uint": edgeagent.TypeUint16,
	"dint": edgeagent.TypeInt32, "udint": edgeagent.TypeUint32, "lint": edgeagent.TypeInt64, "ulint": edgeagent.TypeUint64,
	"real": edgeagent.TypeFloat32, "lreal": edgeagent.TypeFloat64, "string": edgeagent.TypeString, "wstring": edgeagent.TypeString,
}

var stringType = regexp.MustCompile(`^w?string\[\d+\]$`)

func siemensType(name string) (edgeagent.DataType, string) {
	lower := strings.ToLower(strings.TrimSpace(name))
	switch typ, known := siemensTypes[lower]; {
	case known:
		return typ, ""
	case stringType.MatchString(lower):
		return edgeagent.TypeString, ""
	case strings.HasPrefix(lower, "array"):
		return "", "it is an array; its elements are nodes of their own: list them with browse"
	case strings.HasPrefix(lower, `"`):
		return "", fmt.Sprintf("%s is a structure; its members are nodes of their own: list them with browse", oneLine(name, 60))
	case lower == "":
		return "", "it has no data type"
	default:
		return "", fmt.Sprintf("type %s has no counterpart", oneLine(name, 60))
	}
}

// readTIATags reads PLC tags (a workbook, CSV or SDF) and HMI tags, and makes
// OPC UA nodes of them: an S7 address such as %MW100 is no Modbus address.
func readTIATags(in *reading) error {
	if in.options.Node == "" {
		in.options.Node = siemensNode
	}
	t, hmi, err := in.tiaTable()
	if err != nil {
		return err
	}
	for _, r := range t.rows {
		if r.empty() {
			continue
		}
		if hmi {
			in.takeHMITag(t, r)
		} else {
			in.takePLCTag(t, r)
		}
	}
	if len(in.result.Tags) > 0 {
		in.note("the tags are nodes of the controller's own OPC UA server, which has to be activated and licensed in TIA Portal; compare one with edgeagent browse")
	}
	return nil
}

// tiaTable finds out which export it is.
func (in *reading) tiaTable() (*table, bool, error) {
	read := in.readTable
	if isWorkbook(in.data) {
		read = in.readSheet
	}
	t, err := read("name", "data type", "logical address")
	if err == nil {
		return t, false, nil
	}
	if hmi, errHMI := read("name", "plc tag"); errHMI == nil {
		return hmi, true, nil
	}
	if !isWorkbook(in.data) {
		if sdf := in.readSDF(); sdf != nil {
			return sdf, false, nil
		}
	}
	return nil, false, err
}

var s7Address = regexp.MustCompile(`(?i)^%?(DB\d+|[IQMEAPTCZ])\s*[A-Z]{0,2}\s*\d+(\.\d+)?\s*(:P)?$`)

// readSDF reads the export without a header: name, address, type, comment.
func (in *reading) readSDF() *table {
	text, _ := decode(in.data)
	skipped := len(in.result.Skipped)
	rows := in.readCSV(text, ',')
	if len(rows) == 0 || len(rows[0].cells) < 3 || !s7Address.MatchString(strings.TrimSpace(rows[0].cells[1])) {
		in.result.Skipped = in.result.Skipped[:skipped]
		return nil
	}
	return &table{rows: rows, columns: map[string]int{"name": 0, "logical address": 1, "data type": 2, "comment": 3}}
}

func (in *reading) takePLCTag(t *table, r row) {
	name := t.get(r, "name")
	typ, why := siemensType(t.get(r, "data type"))
	switch {
	case name == "":
		why = "it has no name"
	case strings.EqualFold(t.get(r, "hmi accessible"), "false"):
		why = "it cannot be reached over OPC UA (column Hmi Accessible)"
	case strings.Contains(name, `"`):
		why = "its name holds a quotation mark"
	}
	if why != "" {
		in.skip(r.line, name, "%s", why)
		return
	}
	comment := strings.TrimSpace(t.get(r, "logical address") + " " + t.get(r, "comment"))
	in.take(Tag{Line: r.line, Source: name, Address: in.node(`"` + name + `"`), Type: typ, Comment: comment})
}

// node puts a tag into the template of its address.
func (in *reading) node(tag string) string { return strings.ReplaceAll(in.options.Node, "{tag}", tag) }

const noValue = "<No value>"

// takeHMITag takes the controller's tag behind a tag of a panel, under the
// panel's name: that is what the panel's alarms speak of.
func (in *reading) takeHMITag(t *table, r row) {
	name, plcTag := t.get(r, "name"), t.get(r, "plc tag")
	typ, why := siemensType(t.get(r, "hmi data type", "datatype", "data type"))
	node, ok := symbolicNode(plcTag)
	switch {
	case name == "":
		why = "it has no name"
	case plcTag == "" || strings.EqualFold(plcTag, noValue):
		why = "it lives in the panel, no tag of a controller is behind it"
	case !ok:
		why = fmt.Sprintf("%s is no name of a controller's tag", oneLine(plcTag, 80))
	case t.has("linear scaling") && yes(t.get(r, "linear scaling")):
		why = "the panel scales it; set scaling by hand"
	}
	if why != "" {
		in.skip(r.line, name, "%s", why)
		return
	}
	in.take(Tag{Line: r.line, Source: name, Address: in.node(node), Type: typ, Comment: strings.TrimSpace(plcTag + " " + t.get(r, "comment"))})
}

// symbolicNode quotes each part of DB_Alarms.Words[2] the way the server names
// its nodes: "DB_Alarms"."Words"[2].
func symbolicNode(s string) (string, bool) {
	var out []string
	for s != "" {
		part, rest, ok := symbolicPart(s)
		if !ok {
			return "", false
		}
		out, s = append(out, part), rest
	}
	return strings.Join(out, "."), len(out) > 0
}

// symbolicPart cuts the first part off, quoted, with its index behind it.
func symbolicPart(s string) (part, rest string, ok bool) {
	var name string
	if quotedName, found := strings.CutPrefix(s, `"`); found {
		name, rest, found = strings.Cut(quotedName, `"`)
		if !found {
			return "", "", false
		}
	} else {
		end := strings.IndexAny(s, ".[")
		if end < 0 {
			end = len(s)
		}
		name, rest = s[:end], s[end:]
	}
	index := arrayIndex.FindString(rest)
	rest = rest[len(index):]
	more := strings.HasPrefix(rest, ".")
	if name == "" || strings.Contains(name, `"`) || rest != "" && !more || rest == "." {
		return "", "", false
	}
	return `"` + name + `"` + index, strings.TrimPrefix(rest, "."), true
}

var arrayIndex = regexp.MustCompile(`^(\[\d+(,\d+)*\])*`)
