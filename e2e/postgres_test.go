package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// postgres is one real PostgreSQL server for the whole run, on a socket in a
// directory of its own.
var postgres struct {
	once sync.Once
	dir  string
	cmd  *exec.Cmd
	err  error
	n    atomic.Int64
}

// newDatabase returns an empty database on the run's server.
func newDatabase(t *testing.T) *sql.DB {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	needs(t, "PostgreSQL", len(bins) > 0)
	postgres.once.Do(func() { postgres.err = startPostgres(bins[len(bins)-1]) })
	if postgres.err != nil {
		t.Fatalf("start PostgreSQL: %v", postgres.err)
	}
	name := fmt.Sprintf("e2e_%d", postgres.n.Add(1))
	admin := openDatabase(t, "postgres")
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create database: %v", err)
	}
	return openDatabase(t, name)
}

func openDatabase(t *testing.T, name string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", fmt.Sprintf("host=%s user=postgres dbname=%s", postgres.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func startPostgres(bin string) error {
	dir, err := os.MkdirTemp("", "e2e-pg-")
	if err != nil {
		return err
	}
	postgres.dir = dir
	attr, err := postgresUser(dir)
	if err != nil {
		return err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "db"), "-U", "postgres", "-A", "trust", "-E", "UTF8")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "db"), "-k", dir, "-c", "listen_addresses=", "-c", "max_connections=50")
	cmd.Dir, cmd.SysProcAttr = dir, attr
	if err := cmd.Start(); err != nil {
		return err
	}
	postgres.cmd = cmd
	return awaitPostgres(dir)
}

// postgresUser lets the server run as somebody else when we are root, which it
// refuses to be.
func postgresUser(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, uid, gid)
}

func awaitPostgres(dir string) error {
	db, err := sql.Open("pgx", "host="+dir+" user=postgres dbname=postgres")
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for ctx.Err() == nil {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func stopPostgres() {
	if postgres.cmd != nil {
		_ = postgres.cmd.Process.Signal(syscall.SIGQUIT)
		_ = postgres.cmd.Wait()
	}
	if postgres.dir != "" {
		_ = os.RemoveAll(postgres.dir)
	}
}
