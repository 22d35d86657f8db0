package ollama

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Find returns the server that the tests run: setup.sh's, else the one on PATH;
// empty when there is none.
func Find(root string) string {
	built := filepath.Join(root, "e2e", "out", "ollama")
	if _, err := os.Stat(built); err == nil {
		return built
	}
	path, _ := exec.LookPath("ollama")
	return path
}

// Server is a real Ollama of its own, with its own models.
type Server struct {
	URL string

	t       *testing.T
	program string
	dir     string
	addr    string

	mu  sync.Mutex
	cmd *exec.Cmd
	log bytes.Buffer
}

// Start runs a server at addr until the end of the test; [Server.Up] tells when
// it answers.
func Start(t *testing.T, program, addr string) *Server {
	t.Helper()
	s := &Server{t: t, program: program, dir: t.TempDir(), addr: addr, URL: "http://" + addr}
	s.Run()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			s.mu.Lock()
			t.Logf("Ollama's log:\n%s", s.log.String()[max(0, s.log.Len()-4000):])
			s.mu.Unlock()
		}
	})
	return s
}

func (s *Server) env() []string {
	return append(os.Environ(), "HOME="+s.dir, "OLLAMA_HOST="+s.addr, "OLLAMA_MODELS="+filepath.Join(s.dir, "models"),
		"OLLAMA_NO_CLOUD=1", "OLLAMA_NUM_PARALLEL=1", "OLLAMA_MAX_LOADED_MODELS=1")
}

// Write keeps what the server says.
func (s *Server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// Run starts the server, again after [Server.Kill].
func (s *Server) Run() {
	s.t.Helper()
	s.cmd = exec.Command(s.program, "serve")
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env(), s, s
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start Ollama: %v", err)
	}
}

// Up reports whether the server answers.
func (s *Server) Up() bool {
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(s.URL + "/api/version")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Kill ends the server and the processes that hold its models, without a word.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Create gives the server a model.
func (s *Server) Create(m Model) {
	s.t.Helper()
	modelfile, err := m.Write(s.dir)
	if err != nil {
		s.t.Fatalf("write model %s: %v", m.Name, err)
	}
	cmd := exec.Command(s.program, "create", m.Name, "-f", modelfile)
	cmd.Env = s.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("create model %s: %v\n%s", m.Name, err, out)
	}
}

// Signal sends a signal to every process that holds a model, and returns how
// many there are.
func (s *Server) Signal(sig syscall.Signal) int {
	runners := s.runners()
	for _, pid := range runners {
		_ = syscall.Kill(pid, sig)
	}
	return len(runners)
}

func (s *Server) runners() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(s.cmd.Process.Pid) || fields[0] == "Z" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Chat asks the server as somebody else does, and returns its status.
func (s *Server) Chat(model string, context int, within time.Duration) (int, error) {
	client := &http.Client{Timeout: within}
	body := fmt.Sprintf(`{"model":%q,"stream":false,"messages":[{"role":"user","content":"hello"}],"options":{"num_ctx":%d,"num_predict":4}}`, model, context)
	resp, err := client.Post(s.URL+"/api/chat", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
