package config

// deviceLists reads the keys of the lists, whose devices are made already.
func (r *reader) deviceLists(sections []*section) {
	for _, s := range sections {
		for _, k := range []struct{ key, example string }{{"template", `"pump"`}, {"file", `"pumps.csv"`}} {
			if !s.set(k.key) {
				s.missing(k.key, k.example)
			} else if s.text(k.key, "") == "" && s.good(k.key) {
				s.fail(k.key, "%s is empty; write one such as %s", k.key, k.example)
			}
		}
	}
}

// namedTemplates reads the names of the templates. What else is in them is read
// in every device that is made of them.
func (r *reader) namedTemplates(sections []*section) {
	unique := names{}
	for _, s := range sections {
		s.contents = true
		name := s.required("name", deviceName, "1 to 63 of a-z, 0-9, _ and -", `"pump"`)
		unique.claim(s, "name", name)
		if s.set("template") {
			s.fail("template", "a template is made of no other template; remove it")
		}
	}
}

// unusedTemplates looks for unknown keys in templates of which nothing is made
// yet, by reading each as if it were a device: what depends on its placeholders
// cannot be judged.
func (r *reader) unusedTemplates(all []*template) {
	for _, t := range all {
		if t.used || r.broken {
			continue
		}
		trial := &reader{problems: &problems{regions: r.regions, end: r.end}, dir: r.dir, language: r.language}
		trial.device(trial.section(t.table, "device", trial.section(newTable("", 0), "", nil)), &Config{})
		trial.found, trial.absent = nil, nil
		trial.refuseUnknown()
		r.found = append(r.found, trial.found...)
	}
}
