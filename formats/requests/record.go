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
	Servers  []Server // what the targets said of themselves; those that said nothing are none of it
	Plan     trace.Plan
	Overlays []string         // edits of the bodies, as given to --set
	Seed     trace.Opt[int64] // where one was used
	Shard    Shard            // zero where the run is whole

	ChunkClock  ChunkClock  // who stamped the answers; "" is unknown, which is the client
	Connections Connections // zero where the log does not say
	Machine     Machine     // zero where the log does not say
}

// Server is what a target said of itself before the run.
type Server struct {
	Target  string // one of Run.Targets
	Version string
}

// Machine is what a run's client ran on.
type Machine struct {
	GOMAXPROCS int                // threads of Go code at once; 0 is unknown
	CPUs       trace.Opt[int]     // that the client may run on
	CPUQuota   trace.Opt[float64] // processors' worth of time that its cgroups allow it
	CPUModel   string             // "" is unknown
	Governor   string             // of the processor's frequency; "" is unknown
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

	// Of a trace that was no raw_payload one, but made into one: SHA256 is then of what
	// it was made into.
	Format       string // of the source, as convert's --from names it; "" is raw_payload
	SourceSHA256 string // of the source, decompressed

	// Like says what traces of other bytes are alike with this one, where whoever made it
	// draws it anew for each run; "" is none.
	Like string
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

// Client is what the load generator itself used, and how late it was. What is of
// the interval is of the time since the line before.
type Client struct {
	At         trace.Time
	CPUSeconds trace.Opt[float64] // CPU time since the process began, user and system
	InFlight   int                // requests
	Held       trace.Opt[int]     // requests that waited for a gate of the plan

	LatenessP50 trace.Opt[time.Duration] // by how much requests of the interval were sent later than due
	LatenessP99 trace.Opt[time.Duration]
	LatenessMax trace.Opt[time.Duration]
	GCPause     trace.Opt[time.Duration] // that the garbage collector stopped the process for so far
	SchedP99    trace.Opt[time.Duration] // goroutines of the interval waited for a processor
	Queue       trace.Opt[int]           // entries that waited for the log, at most, in the interval
	LogBlocked  trace.Opt[time.Duration] // slots waited for the log so far, added up
	Goroutines  trace.Opt[int]           // that there are
}

// Verdict says whether the client can have distorted what it measured.
type Verdict string

// The verdicts.
const (
	ClientOK        Verdict = "ok"
	ClientLate      Verdict = "late"      // requests were sent too late
	ClientSaturated Verdict = "saturated" // it lacked processor time
)

// Judgement is the verdict on a run's client, and what it was found by.
type Judgement struct {
	Verdict     Verdict                  // "" where the log does not say
	LatenessP50 trace.Opt[time.Duration] // by how much requests were sent later than due
	LatenessP99 trace.Opt[time.Duration]
	LatenessMax trace.Opt[time.Duration]
	MeanGap     trace.Opt[time.Duration] // between events with output of an answer
	Bound       trace.Opt[time.Duration] // that LatenessP99 and SchedP99 were held against
	SchedP99    trace.Opt[time.Duration]
	CPUShare    trace.Opt[float64] // of the processor time that the client may have
	BusyShare   trace.Opt[float64] // of the seconds with load, in which it used almost all
	LogBlocked  trace.Opt[time.Duration]
	Held        trace.Opt[int64] // requests that waited for a gate of the plan
}

// Close ends a log.
type Close struct {
	At        trace.Time
	Sent      int64 // requests
	Succeeded int64
	Failed    int64
	Cancelled int64
	Clean     bool // false after a signal
	Client    Judgement
}
