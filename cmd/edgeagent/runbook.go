package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgeagent/alarm"
	"edgeagent/config"
	"edgeagent/llm/runbook"
)

func newRunbook(o *options) *cobra.Command {
	lint := jsonFlag(&cobra.Command{
		Use: "lint", Short: "codes without an entry, entries without a code, doubles, overdue reviews and whatever else is wrong with the runbook",
		Long: "Reads the configuration and the runbook's folder; no agent is needed. A line a finding: where, what, what to do.\n" +
			"Exit code 1 if one of them is an error: something is not used, or says what it should not.",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return runbookLint(c, o) },
	}, o)
	return group("runbook", "what the plant's people have written down", lint, newRunbookImport(o), newDrafts(o))
}

// lintAnswer is what runbook lint --json prints.
type lintAnswer struct {
	Folder   string            `json:"folder"`
	Entries  int               `json:"entries"`
	Drafts   int               `json:"drafts"`
	Findings []runbook.Finding `json:"findings"`
}

func runbookLint(c *cobra.Command, o *options) error {
	cfg, err := config.Load(config.DefaultPath(o.configPath), checks())
	if err != nil {
		return configError(err)
	}
	book, err := loadBook(cfg)
	if err != nil {
		return err
	}
	a := lintAnswer{Folder: runbookPath(cfg), Findings: book.Lint(plantOf(cfg), time.Now())}
	a.Entries, a.Drafts = book.Entries()
	errors := 0
	for _, f := range a.Findings {
		if f.Severity == runbook.SeverityError {
			errors++
		}
	}
	if o.json {
		if err := printJSON(c.OutOrStdout(), a); err != nil {
			return err
		}
	} else {
		printFindings(c.OutOrStdout(), a)
		c.PrintErrf("%d entries, %d drafts: %d errors, %d warnings\n", a.Entries, a.Drafts, errors, len(a.Findings)-errors)
	}
	if errors > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

// loadBook reads the runbook as the agent does. A folder that is not there is an
// empty one to the agent; a person who asks about it wants to know.
func loadBook(cfg *config.Config) (*runbook.Book, error) {
	path := runbookPath(cfg)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("read the runbook: %w; make the folder, or correct path of the runbook provider", err)
	}
	book, err := runbook.Load(path)
	if err != nil {
		return nil, err
	}
	book.Language, book.Templates = cfg.LLM.Language, templatesOf(cfg)
	return book, nil
}

// printFindings writes names of files as they are found from here, so that an
// editor can jump to them.
func printFindings(w io.Writer, a lintAnswer) {
	for _, f := range a.Findings {
		where := a.Folder
		if f.File != "" {
			f.File = filepath.Join(a.Folder, filepath.FromSlash(f.File))
			where = f.Place()
		}
		fmt.Fprintf(w, "%s: %s: %s\n", printable(where), f.Severity, printable(f.Text))
	}
}

// plantOf lists what a runbook can be written for. Disabled devices count: they
// will be read again.
func plantOf(cfg *config.Config) runbook.Plant {
	var p runbook.Plant
	for _, t := range templatesOf(cfg) {
		p.Templates = append(p.Templates, t)
	}
	for _, l := range cfg.Lines {
		p.Lines = append(p.Lines, l.Name)
	}
	for _, d := range cfg.Devices {
		p.Devices, p.Lines = append(p.Devices, d.Name), append(p.Lines, d.Line)
		add := func(code string, safety bool) {
			p.Alarms = append(p.Alarms, runbook.PlantAlarm{Device: d.Name, Line: d.Line, Code: code, Safety: safety})
		}
		for _, r := range alarmRules(d, "") {
			add(r.Code, r.Safety)
		}
		for _, w := range alarmWords(d, "") {
			addTexts(add, w.Rows, w.Safety)
		}
		for _, n := range alarmCodes(d, "") {
			addTexts(add, n.Rows, n.Safety)
		}
	}
	slices.Sort(p.Templates)
	slices.Sort(p.Lines)
	p.Templates, p.Lines = slices.Compact(p.Templates), slices.Compact(p.Lines)
	return p
}

func addTexts(add func(code string, safety bool), rows []alarm.Text, safety bool) {
	for _, r := range rows {
		add(r.Code, safety)
	}
}

func newRunbookImport(o *options) *cobra.Command {
	var options runbook.ImportOptions
	var draft bool
	c := jsonFlag(&cobra.Command{
		Use:   "import FILE",
		Short: "make a table of ours of a list of faults as plants and makers keep them",
		Long: "Reads CSV, TSV and the tables of a Markdown file, in UTF-8, UTF-16 or Windows-1252, with English or German headings: a code\n" +
			"and a cause or a remedy are needed. A workbook (XLSX) has to be saved as CSV. The table goes to standard output, for a file\n" +
			"in the runbook's folder; which headings were taken and which rows were not, to standard error.",
		Args: exactly(1, "one file, or - for standard input"),
		RunE: func(c *cobra.Command, args []string) error {
			status := ""
			if draft {
				status = "draft"
			}
			return runbookImport(c, args[0], options, status, o.json)
		},
	}, o)
	c.Flags().StringVar(&options.AppliesTo, "applies-to", "", "device:NAME, line:NAME or template:NAME for rows that name no machine (default every machine)")
	c.Flags().BoolVar(&draft, "draft", false, "mark every row as a draft, which is not quoted until an engineer takes the mark away")
	return c
}

// importMost is more than any list that is taken; the rest is not read.
const importMost = 64 << 20

func runbookImport(c *cobra.Command, name string, options runbook.ImportOptions, status string, asJSON bool) error {
	if k, n, found := strings.Cut(options.AppliesTo, ":"); options.AppliesTo != "" && (!found || n == "" || !slices.Contains([]string{"device", "line", "template"}, k)) {
		return usagef("--applies-to %q is not understood; want device:NAME, line:NAME or template:NAME", options.AppliesTo)
	}
	in := c.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("open the list: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, importMost))
	if err != nil {
		return fmt.Errorf("read the list: %w", err)
	}
	list, err := runbook.Import(name, raw, options)
	if err != nil {
		return err
	}
	reportImport(c.ErrOrStderr(), name, list)
	switch {
	case len(list.Rows) == 0:
		return fmt.Errorf("nothing in %s could be taken; the reasons stand above", name)
	case asJSON:
		return printJSON(c.OutOrStdout(), list)
	}
	return list.WriteCSV(c.OutOrStdout(), status)
}

func reportImport(w io.Writer, name string, list *runbook.Imported) {
	for _, s := range list.Skipped {
		fmt.Fprintf(w, "%s:%d: not taken: %s: %s\n", name, s.Line, printable(s.What), printable(s.Why))
	}
	for _, n := range list.Notes {
		fmt.Fprintf(w, "note: %s\n", printable(n))
	}
	fmt.Fprintf(w, "%d rows taken, %d not; read them before they go into the runbook's folder, then: edgeagent runbook lint\n", len(list.Rows), len(list.Skipped))
}
