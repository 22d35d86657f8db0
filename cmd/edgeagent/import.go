package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/exports"
)

// importing is one edgeagent import.
type importing struct {
	format, tags, texts, alarms string
	order                       string
	force                       bool
	options                     exports.Options
}

func newImport(o *options) *cobra.Command {
	var i importing
	c := jsonFlag(&cobra.Command{
		Use:   "import --format FORMAT FILE",
		Short: "make our tags_file and texts_file of another tool's export; list what was not taken",
		Long: "Formats: " + strings.Join(exports.Formats, ", ") + ".\n\n" +
			"Without --tags, --texts or --alarms the tags go to standard output as CSV, or the texts if there are no tags.\n" +
			"What was not taken and what has to be checked goes to standard error.",
		Args: exactly(1, "one file, or - for standard input"),
		RunE: func(c *cobra.Command, args []string) error { return i.run(c, args[0], o.json) },
	}, o)
	f := c.Flags()
	f.StringVar(&i.format, "format", "", "which export it is: "+strings.Join(exports.Formats, ", "))
	f.StringVar(&i.options.Device, "device", "", "the one device to take of an export that holds several")
	f.StringVar(&i.order, "order", "", "byte order of values of more than 16 bits: ABCD, CDAB, BADC, DCBA (default: the tool's)")
	f.StringVar(&i.options.Node, "node", "", "OPC UA address of a controller's tag, with `{tag}` for its name")
	f.StringVar(&i.options.Language, "language", "en", "language of texts that name none")
	f.StringVar(&i.tags, "tags", "", "`file` for the tags")
	f.StringVar(&i.texts, "texts", "", "`file` for the texts; {tag} in its name makes one for each alarm word")
	f.StringVar(&i.alarms, "alarms", "", "`file` for [[device.alarm]] blocks")
	f.BoolVar(&i.force, "force", false, "overwrite files that are there")
	return c
}

func (i *importing) run(c *cobra.Command, name string, asJSON bool) error {
	if err := i.check(); err != nil {
		return err
	}
	r, err := i.read(c, name)
	if err != nil {
		return err
	}
	i.report(c.ErrOrStderr(), name, r)
	if len(r.Tags)+len(r.Texts)+len(r.Alarms) == 0 {
		return fmt.Errorf("nothing in %s could be taken; the reasons stand above", name)
	}
	if err := i.writeFiles(r); err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), r)
	}
	return i.print(c.OutOrStdout(), r)
}

func (i *importing) check() error {
	if !slices.Contains(exports.Formats, i.format) {
		return usagef("--format %q is not known; want %s", i.format, strings.Join(exports.Formats, ", "))
	}
	switch i.options.Order = edgeagent.ByteOrder(strings.ToUpper(i.order)); i.options.Order {
	case "", edgeagent.OrderABCD, edgeagent.OrderCDAB, edgeagent.OrderBADC, edgeagent.OrderDCBA:
		return nil
	default:
		return usagef("--order %q is not known; want ABCD, CDAB, BADC or DCBA", i.order)
	}
}

func (i *importing) read(c *cobra.Command, name string) (*exports.Result, error) {
	if name == "-" {
		return exports.Read(i.format, "standard input", c.InOrStdin(), i.options)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the export: %w", err)
	}
	defer f.Close()
	return exports.Read(i.format, name, f, i.options)
}

// report says what was taken, what was not and why, and what to check.
func (i *importing) report(w io.Writer, name string, r *exports.Result) {
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "%s:%d: not taken: %s: %s\n", name, s.Line, s.What, s.Why)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	texts := 0
	for _, t := range r.Texts {
		texts += len(t)
	}
	fmt.Fprintf(w, "%d tags, %d texts for %d tags, %d alarms taken; %d not taken\n", len(r.Tags), texts, len(r.Texts), len(r.Alarms), len(r.Skipped))
	if texts > 0 && i.texts == "" && len(r.Tags) > 0 {
		fmt.Fprintln(w, "note: the texts were not written; give --texts")
	}
	if len(r.Alarms) > 0 && i.alarms == "" {
		fmt.Fprintln(w, "note: the alarms were not written; give --alarms")
	}
}

const tagPlace = "{tag}"

func (i *importing) writeFiles(r *exports.Result) error {
	if i.tags != "" {
		if err := i.write(i.tags, r.WriteTags); err != nil {
			return err
		}
	}
	if i.alarms != "" {
		if err := i.write(i.alarms, r.WriteAlarms); err != nil {
			return err
		}
	}
	tags := r.TextTags()
	if i.texts == "" {
		return nil
	}
	if len(tags) > 1 && !strings.Contains(i.texts, tagPlace) {
		return usagef("the texts are of several tags (%s); put %s into the name of --texts for a file each", strings.Join(tags, ", "), tagPlace)
	}
	for _, tag := range tags {
		name := strings.ReplaceAll(i.texts, tagPlace, tag)
		if err := i.write(name, func(w io.Writer) error { return r.WriteTexts(w, tag) }); err != nil {
			return err
		}
	}
	return nil
}

// write makes a whole file or none. One that is there may have been edited by
// hand, and is left alone unless --force is given.
func (i *importing) write(name string, write func(io.Writer) error) error {
	if _, err := os.Lstat(name); err == nil && !i.force {
		return fmt.Errorf("%s is there already; move it away, or overwrite it with --force", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".import-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Sync())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}

// print writes what no file was named for.
func (i *importing) print(w io.Writer, r *exports.Result) error {
	tags := r.TextTags()
	switch {
	case i.tags+i.texts+i.alarms != "":
		return nil
	case len(r.Tags) > 0:
		return r.WriteTags(w)
	case len(tags) == 1:
		return r.WriteTexts(w, tags[0])
	case len(tags) > 1:
		return usagef("the texts are of several tags (%s); write a file for each with --texts '%s.csv'", strings.Join(tags, ", "), tagPlace)
	default:
		return r.WriteAlarms(w)
	}
}
