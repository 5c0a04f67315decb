package requests

import (
	"errors"
	"time"

	"wattrace/trace"
)

// Schema is the schema that this package reads and writes.
const Schema = "wattrace.requests/1"

// MaxLine bounds a line of a log, in bytes without its line ending. A request
// of a million events has one of about 6 MB.
const MaxLine = 256 << 20

// ErrTruncated is the cause of the error for a last line that was cut: the log
// is incomplete, and what was read before stands.
var ErrTruncated = errors.New("the last line is cut off")

// Type is the type of a line.
type Type string

// The types of line.
const (
	TypeRun     Type = "run"
	TypePhase   Type = "phase"
	TypeSent    Type = "sent"
	TypeRequest Type = "request"
	TypeClock   Type = "clock"
	TypeClient  Type = "client"
	TypeClose   Type = "close"
)

// Record is one line of a log. Only the member of its Type is set.
type Record struct {
	Type    Type
	Pos     trace.Pos // where the line stands
	Run     Run
	Phase   PhaseEvent
	Sent    Sent
	Request trace.Request
	Clock   trace.ClockSnapshot
	Client  Client
	Close   Close
}

// Run begins a log: what was run, against what, and on which clock.
type Run struct {
	Producer string
	Clock    trace.Clock
	Trace    TraceInfo
	Targets  []string // base URLs, without user or key
	Plan     trace.Plan
	Overlays []string         // edits of the bodies, as given to --set
	Seed     trace.Opt[int64] // where one was used
	Shard    Shard            // zero where the run is whole

	ChunkClock  ChunkClock  // who stamped the answers; "" is unknown, which is the client
	Connections Connections // zero where the log does not say
}

// ChunkClock says who stamped what arrived.
type ChunkClock string

// The clocks of chunks.
const (
	UserClock   ChunkClock = "user"   // the client, after the read that delivered the bytes
	KernelClock ChunkClock = "kernel" // the kernel, when the packet arrived
)

// Connections is how a run's client made its connections, and what else of the
// client changes what was measured.
type Connections struct {
	Balance         string           // how requests were shared among the targets
	KeepAlive       time.Duration    // how long an idle connection was kept
	Preconnect      int              // connections that were opened ahead of the load
	SourceAddresses int              // local addresses that connections were made from in turn; 0 is the system's choice
	Insecure        bool             // certificates were not checked
	CacheSaltSeed   trace.Opt[int64] // where each body was given a cache_salt
}

// TraceInfo identifies the trace that was replayed.
type TraceInfo struct {
	Path   string // "-" is standard input
	SHA256 string // of its bytes, in hexadecimal
	Turns  int64
}

// Shard says which part of a run that was split over clients a log holds.
type Shard struct {
	Index int // from 0
	Count int // 0 where the run was not split
}

// PhaseEvent is the start or the end of a phase.
type PhaseEvent struct {
	Phase       string // its name
	Kind        trace.PhaseKind
	Start       bool // else it is the end
	At          trace.Time
	Concurrency int // requests in flight at once; 0 at the end, and when idle
}

// Sent says that a request was handed to the HTTP client.
type Sent struct {
	Seq   int64 // order of sending, from 0
	Line  int64 // 1-based turn of the trace
	Phase string
	At    trace.Time
}

// Client is what the load generator itself used.
type Client struct {
	At         trace.Time
	CPUSeconds trace.Opt[float64] // CPU time since the process began, user and system
	InFlight   int                // requests
}

// Close ends a log.
type Close struct {
	At        trace.Time
	Sent      int64 // requests
	Succeeded int64
	Failed    int64
	Cancelled int64
	Clean     bool // false after a signal
}
