package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgeagent/config"
	"edgeagent/exports"
	"edgeagent/plc/opcua"
)

// browsing is one edgeagent browse.
type browsing struct {
	root, saveCert string
	csv, endpoints bool
	user, password string
	server         opcua.Options
}

func newBrowse(o *options) *cobra.Command {
	b := browsing{server: opcua.Options{Timeout: 10 * time.Second, ApplicationName: "edgeagent"}}
	c := jsonFlag(&cobra.Command{
		Use:   "browse opc.tcp://HOST:PORT | DEVICE",
		Short: "what an OPC UA server offers: ways in, its certificate, its variables as [[device.tag]] blocks or CSV",
		Long: "With the name of a device the configuration's security is used. With a URL the flags say it;\n" +
			"without --security only the ways in are shown, and nothing is browsed.",
		Args: exactly(1, "the URL of a server or the name of a device"),
		RunE: func(c *cobra.Command, args []string) error { return b.run(c, o, args[0]) },
	}, o)
	f := c.Flags()
	f.StringVar(&b.root, "root", "", "`node` to begin at, such as \"ns=2;s=Line1\" (default: Objects)")
	f.BoolVar(&b.csv, "csv", false, "print a tags_file instead of [[device.tag]] blocks")
	f.BoolVar(&b.endpoints, "endpoints", false, "show the ways in only")
	f.StringVar(&b.saveCert, "save-cert", "", "write the server's certificate to `file`; compare its SHA-256 with the server's own display before you trust it")
	f.StringVar(&b.server.Security, "security", "", "None, Basic256Sha256, Aes128_Sha256_RsaOaep or Aes256_Sha256_RsaPss")
	f.StringVar(&b.server.Mode, "mode", "", "None, Sign or SignAndEncrypt")
	f.StringVar(&b.server.ServerCertFile, "server-cert", "", "`file` with the certificate that is trusted")
	f.StringVar(&b.server.ClientCertFile, "client-cert", "", "`file` with our certificate")
	f.StringVar(&b.server.ClientKeyFile, "client-key", "", "`file` with its key")
	f.StringVar(&b.user, "user", "", "name to log in with")
	f.StringVar(&b.password, "password-file", "", "`file` with the password")
	return c
}

func (b *browsing) run(c *cobra.Command, o *options, target string) error {
	if err := b.target(o, target); err != nil {
		return err
	}
	endpoints, err := opcua.Describe(c.Context(), b.server)
	if err != nil {
		return err
	}
	if b.saveCert != "" {
		return saveCertificate(c.OutOrStdout(), b.saveCert, endpoints)
	}
	if b.endpoints || b.server.Security == "" {
		return showEndpoints(c, o, endpoints)
	}
	return b.nodes(c, o)
}

// target takes the security of a configured device, or that of the flags.
func (b *browsing) target(o *options, target string) error {
	if strings.Contains(target, "://") {
		b.server.Endpoint = target
		if b.user != "" {
			b.server.User, b.server.Password = b.user, func() (string, error) { return readSecret(b.password) }
		}
		return nil
	}
	cfg, err := config.Load(config.DefaultPath(o.configPath), checks())
	if err != nil {
		return err
	}
	d, err := deviceNamed(cfg, target)
	if err != nil {
		return err
	}
	if d.Protocol != config.OPCUAProtocol {
		return usagef("%s is read over %s, which cannot be browsed; use edgeagent scan %s", d.Name, d.Protocol, d.URL)
	}
	b.server = opcuaOptions(cfg, d, nil)
	return nil
}

func readSecret(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

func showEndpoints(c *cobra.Command, o *options, all []opcua.Endpoint) error {
	if o.json {
		return printJSON(c.OutOrStdout(), struct {
			Endpoints []opcua.Endpoint `json:"endpoints"`
		}{all})
	}
	if err := printEndpoints(c.OutOrStdout(), all); err != nil {
		return err
	}
	c.PrintErrln("nothing is browsed without --security; with None nobody proves who the server is")
	return nil
}

// saveCertificate writes the certificate that the server shows, and makes the
// folder for it, which a new gateway does not have. Whether it is the server's is
// for a person to say.
func saveCertificate(w io.Writer, file string, all []opcua.Endpoint) error {
	for _, e := range all {
		if e.Certificate == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("save the certificate: %w", err)
		}
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("save the certificate: %w", err)
		}
		_, err = f.Write(e.Certificate.DER)
		if err = firstError(err, f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("save the certificate: %w", err)
		}
		fmt.Fprintf(w, "%s\nsubject  %s\nvalid    %s to %s\nSHA-256  %s\nCompare the SHA-256 with the server's own display before you set server_cert_file = %q.\n",
			file, printable(e.Certificate.Subject), e.Certificate.NotBefore.Format(time.DateOnly), e.Certificate.NotAfter.Format(time.DateOnly),
			e.Certificate.SHA256, file)
		if e.Certificate.Problem != "" {
			fmt.Fprintf(w, "It would be refused all the same: %s\n", printable(e.Certificate.Problem))
		}
		return nil
	}
	return fmt.Errorf("save the certificate: the server shows none; it offers no security")
}

func (b *browsing) nodes(c *cobra.Command, o *options) error {
	var nodes []opcua.Node
	err := opcua.Browse(c.Context(), b.server, b.root, func(n opcua.Node) error {
		nodes = append(nodes, n)
		return nil
	})
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(c.OutOrStdout(), struct {
			Nodes []opcua.Node `json:"nodes"`
		}{nodes})
	}
	return b.tags(c, nodes)
}

// tags prints what can be read as it stands, and says of the rest why not.
func (b *browsing) tags(c *cobra.Command, nodes []opcua.Node) error {
	var found []exports.Tag
	for _, n := range nodes {
		switch {
		case !strings.HasPrefix(n.ID, "nsu="): // the standard's own nodes
		case n.Type == "":
			c.PrintErrf("not taken: %s: its type %s is no single value\n", printable(n.Path), printable(n.DataType))
		case !n.Readable:
			c.PrintErrf("not taken: %s: this user may not read it\n", printable(n.Path))
		case n.Array:
			c.PrintErrf("not taken: %s is an array; write the tag by hand with index\n", printable(n.Path))
		default:
			found = append(found, exports.Tag{Source: n.Path, Address: n.ID, Type: n.Type, Comment: n.Description})
		}
	}
	r := exports.Collect(found)
	for _, s := range r.Skipped {
		c.PrintErrf("not taken: %s: %s\n", printable(s.What), printable(s.Why))
	}
	c.PrintErrf("%d of %d variables taken\n", len(r.Tags), len(nodes))
	if b.csv {
		return r.WriteTags(c.OutOrStdout())
	}
	return writeTagBlocks(c.OutOrStdout(), r.Tags)
}

// writeTagBlocks prints tags as they stand in a configuration.
func writeTagBlocks(w io.Writer, tags []exports.Tag) error {
	for _, t := range tags {
		if _, err := fmt.Fprintf(w, "  [[device.tag]]\n  name    = %q\n  address = %s\n  type    = %q\n", t.Name, tomlString(t.Address), t.Type); err != nil {
			return err
		}
	}
	return nil
}

// tomlString quotes a text of a server: Go's escapes that TOML does not know
// never come from printable text.
func tomlString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable(s)) + `"`
}
