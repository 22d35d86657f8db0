package exports

import "strings"

// ignitionCSV reads the export of version 7, a row a tag. Some versions number
// types instead of naming them: such a type says nothing here.
func (in *reading) ignitionCSV() ([]source, error) {
	t, err := in.readTable("name", "opcitempath")
	if err != nil {
		return nil, err
	}
	var out []source
	for _, r := range t.rows {
		if r.empty() {
			continue
		}
		s := source{
			line: r.line, path: t.get(r, "name"), dataType: named(t.get(r, "datatype")), item: t.get(r, "opcitempath"), server: t.get(r, "opcserver"),
			unit: t.get(r, "engunit"), documentation: t.get(r, "documentation", "tooltip"),
			scaleMode: t.get(r, "scalemode"), clampMode: t.get(r, "clampmode"),
		}
		if folder := t.get(r, "path"); folder != "" {
			s.path = strings.Trim(folder, "/") + "/" + s.path
		}
		if s.scaleMode == "0" {
			s.scaleMode = ""
		}
		if s.clampMode == "0" {
			s.clampMode = ""
		}
		if kind := t.get(r, "tagtype"); kind != "" && !strings.Contains(strings.ToUpper(kind), "OPC") && kind != "0" {
			s.valueSource = kind
		}
		for column, at := range map[string]**float64{"rawlow": &s.rawLow, "rawhigh": &s.rawHigh, "scaledlow": &s.scaledLow, "scaledhigh": &s.scaledHigh} {
			if f, err := t.number(t.get(r, column)); err == nil {
				*at = &f
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// named returns a type that is written as a word.
func named(s string) string {
	if strings.Trim(s, "0123456789") == "" {
		return ""
	}
	return s
}
