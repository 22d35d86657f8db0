package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"edgeagent/internal/retry"
)

// notify tells systemd something; without systemd it does nothing. Its errors
// are of no use to anybody: a service manager that does not listen will restart
// us, which is what it would do on an error.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}

// stopping says that the agent ends, and how long that may take: a service manager
// that knows nothing of shutdown_grace would kill what is still to end well.
func stopping(grace time.Duration) string {
	const rest = 30 * time.Second // the plant, the uploader, the recorder, the page and the file
	return fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", (grace + rest).Microseconds())
}

// watchdog pets systemd's watchdog as long as the agent makes progress; a
// process that merely exists gets none.
func watchdog(ctx context.Context, progressing func() bool) {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return // nobody watches
	}
	every := time.Duration(usec) * time.Microsecond / 3
	for retry.Sleep(ctx, every) == nil {
		if progressing() {
			notify("WATCHDOG=1")
		}
	}
}
