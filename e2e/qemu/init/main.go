// Command init is the first process of a small computer that runs the agent: it
// mounts, loads drivers, brings the network up and does what a service manager
// does, start the agent and start it again. It says on the console what it did.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	socket = "/run/edgeagent.sock"
	page   = ":8080" // where the socket is reached from outside
	device = "/dev/vda"
	data   = "/data"
)

func main() {
	if err := boot(); err != nil {
		fmt.Println("init: STUCK:", err)
		time.Sleep(math.MaxInt64) // whoever watches the console cuts the power
	}
	for {
		fmt.Println("init: starting the agent")
		cmd := exec.CommandContext(context.Background(), "/edgeagent", "run", "-c", "/etc/config.toml")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Env = []string{"NO_COLOR=1"}
		fmt.Println("init: the agent ended:", cmd.Run())
		time.Sleep(2 * time.Second) // a service manager's RestartSec
	}
}

func boot() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := setClock(); err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := configure("lo", net.IPv4(127, 0, 0, 1)); err != nil {
		return err
	}
	if err := configure("eth0", net.IPv4(10, 0, 2, 15)); err != nil {
		return err
	}
	if err := mountData(); err != nil {
		return err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(context.Background(), "tcp", page)
	if err != nil {
		return err
	}
	go forward(l)
	return nil
}

func mountAll() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"},
	} {
		err := errors.Join(os.MkdirAll(m.at, 0o755), syscall.Mount(m.kind, m.at, m.kind, 0, ""))
		if err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return nil
}

// mountData waits for the disk, which its driver finds in its own time.
func mountData() (err error) {
	for range 200 {
		if err = syscall.Mount(device, data, "ext4", 0, ""); !errors.Is(err, syscall.ENOENT) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", device, err)
	}
	fmt.Println("init: mounted", data)
	return nil
}

// setClock takes the time from the kernel's command line: now=SECONDS.
func setClock() error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	for word := range strings.FieldsSeq(string(line)) {
		if text, ok := strings.CutPrefix(word, "now="); ok {
			seconds, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return err
			}
			return syscall.Settimeofday(&syscall.Timeval{Sec: seconds})
		}
	}
	return nil
}

// loadModules loads the kernel's modules in the order of their names: whoever
// packed them knew what needs what.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		code, err := os.ReadFile(dir + "/" + e.Name())
		if err != nil {
			return err
		}
		_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&code[0])), uintptr(len(code)), uintptr(unsafe.Pointer(&[]byte{0}[0])))
		if errno != 0 && errno != syscall.EEXIST {
			return fmt.Errorf("load %s: %w", e.Name(), errno)
		}
	}
	return nil
}

// configure gives an interface a static address of a /24 and brings it up.
func configure(name string, address net.IP) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(fd) }() // nothing was written
	inet := func(ip net.IP) (r [16]byte) {
		r[0] = syscall.AF_INET
		copy(r[4:], ip.To4())
		return r
	}
	up := [16]byte{syscall.IFF_UP | syscall.IFF_RUNNING}
	for _, step := range []struct {
		request uintptr
		with    [16]byte
	}{
		{syscall.SIOCSIFADDR, inet(address)}, {syscall.SIOCSIFNETMASK, inet(net.IPv4(255, 255, 255, 0))}, {syscall.SIOCSIFFLAGS, up},
	} {
		request := struct {
			Name [16]byte
			With [16]byte
			_    [8]byte // struct ifreq is 40 bytes
		}{With: step.with}
		copy(request.Name[:], name)
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), step.request, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("configure %s: %w", name, errno)
		}
	}
	return nil
}

// forward carries connections from the network to the agent's socket, which no
// one outside of a real gateway can reach.
func forward(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			fmt.Println("init: accept:", err)
			return
		}
		go carry(conn)
	}
}

func carry(outside net.Conn) {
	defer func() { _ = outside.Close() }()
	var d net.Dialer
	agent, err := d.DialContext(context.Background(), "unix", socket)
	if err != nil {
		return // the agent is not up yet: the connection ends
	}
	defer func() { _ = agent.Close() }()
	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either side may end it at any time
		done <- struct{}{}
	}
	go pipe(agent, outside)
	go pipe(outside, agent)
	<-done
}
