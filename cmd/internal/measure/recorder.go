package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"wattrace/cmd/internal/sibling"
	"wattrace/formats/telemetry"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// recorder is the record that runs.
type recorder struct {
	*sibling.Process
	dir    string // of the files below, private
	ready  string // the file of --ready
	socket string // of --control; "" where its path would be too long
}

const (
	readyWithin = 2 * time.Minute // record must have its first readings
	endWithin   = 30 * time.Second
	longestPath = len(syscall.RawSockaddrUnix{}.Path) - 1
)

// recordArgs are the flags that every record gets; without --devices only where it is not
// known yet which there are.
func (o *options) recordArgs(devices bool) (args []string) {
	args = []string{"--interval", o.interval.String(), "--progress", "none"}
	for _, s := range o.sources {
		args = append(args, "--source", s)
	}
	if devices && o.isSet("devices") {
		args = append(args, "--devices", o.devices)
	}
	if o.library != "" {
		args = append(args, "--nvml-library", o.library)
	}
	return append(args, passed(o.recordFlags)...)
}

func passed(flags []string) (args []string) {
	for _, f := range flags {
		args = append(args, "--"+f)
	}
	return args
}

// startRecorder starts record and waits for its first readings. command, if it is not nil,
// is what it records; out gets what that prints.
func (r *run) startRecorder(extra, command []string, out io.Writer) (*recorder, error) {
	rec := &recorder{}
	var err error
	if rec.dir, err = os.MkdirTemp("", "wattrace-"); err != nil {
		return nil, err
	}
	rec.ready = filepath.Join(rec.dir, "ready")
	args := append(r.o.recordArgs(true), "-o", r.path("power.arrows"), "--ready", rec.ready)
	if socket := filepath.Join(rec.dir, "control"); len(socket) <= longestPath {
		rec.socket = socket
		args = append(args, "--control", socket)
	}
	args = append(args, extra...)
	if command != nil {
		args = append(append(args, "--"), command...)
	}
	cmd := exec.Command(r.tools.Paths["record"], args...)
	cmd.Stdout = out
	mark := newMark() // a command may leave what is in no group of record's
	cmd.Env = append(os.Environ(), sibling.MarkVariable+"="+mark)
	if rec.Process, err = sibling.Begin("record", cmd, r.said); err != nil {
		rec.remove()
		return nil, err
	}
	rec.Mark = mark
	deadline := time.NewTimer(readyWithin)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(rec.ready); err == nil && len(b) > 0 {
			return rec, nil
		}
		select {
		case <-tick.C:
			continue
		case <-rec.Done:
			err = rec.Fault()
		case <-r.soft.Done():
			err = errStopped
		case <-deadline.C:
			err = fmt.Errorf("record has no readings after %v", readyWithin)
		}
		rec.Stop(0, nil)
		rec.remove()
		return nil, err
	}
}

func (rec *recorder) remove() { os.RemoveAll(rec.dir) }

// ask gives an order on the control socket and returns the answer.
func (rec *recorder) ask(order string) (string, error) {
	if rec.socket == "" {
		return "", errors.New("no control socket")
	}
	conn, err := net.DialTimeout("unix", rec.socket, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintln(conn, order); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "error: ") {
		err = errors.New(line)
	}
	return line, err
}

// status is what all GPUs draw and by how much their counters grew, as far as record knows.
func (rec *recorder) status() (watts, joules trace.Opt[float64]) {
	line, err := rec.ask("status")
	var s struct {
		Watts  *float64 `json:"watts"`
		Joules *float64 `json:"joules"`
	}
	if err != nil || json.Unmarshal([]byte(line), &s) != nil {
		return watts, joules
	}
	if s.Watts != nil {
		watts = trace.Some(*s.Watts)
	}
	if s.Joules != nil {
		joules = trace.Some(*s.Joules)
	}
	return watts, joules
}

// end ends a recording: it closes its file.
func (rec *recorder) end(hard context.Context) {
	rec.Signal(syscall.SIGTERM)
	select {
	case <-rec.Done:
	case <-time.After(endWithin):
	}
	rec.Process.Stop(endWithin, hard.Done())
}

// spotTime is long enough for an energy counter that moves every 100 ms to be seen moving.
const spotTime = 400 * time.Millisecond

// spot reads the energy counters, and the temperatures, by a record process of its own.
// wall is that of its clock.
func (o *options) spot(ctx context.Context, t *sibling.Tools, path string) (s *reduce.Spot, wall func(trace.Time) time.Time, err error) {
	args := []string{"-q", "--interval", "20ms", "--for", spotTime.String(), "--force", "-o", path}
	if o.isSet("devices") {
		args = append(args, "--devices", o.devices)
	}
	if o.library != "" {
		args = append(args, "--nvml-library", o.library)
	}
	p, err := sibling.Begin("record", exec.Command(t.Paths["record"], args...), nil)
	if err != nil {
		return nil, nil, err
	}
	select {
	case <-p.Done:
	case <-ctx.Done():
		p.Stop(0, nil)
		return nil, nil, errStopped
	case <-time.After(readyWithin):
		p.Stop(0, nil)
		return nil, nil, fmt.Errorf("record: no reading after %v", readyWithin)
	}
	if code := p.Status(); code != 0 && code != 3 {
		return nil, nil, p.Fault()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r, err := telemetry.NewReader(f, path)
	if err != nil {
		return nil, nil, err
	}
	s = new(reduce.Spot)
	for {
		var b sample.Batch
		switch err := r.Read(&b); {
		case err == io.EOF:
			return s, r.Head().Clock.Wall, nil
		case err != nil:
			return nil, nil, err
		}
		s.Add(&b)
	}
}

// spots reports whether the energy counters can be read: they are NVML's.
func (o *options) spots() bool {
	if len(o.sources) == 0 {
		return true
	}
	for _, s := range o.sources {
		if s == "nvml" {
			return true
		}
	}
	return false
}
