// Package replay is the tool replay: it sends a trace to a server with the load
// of a plan and writes the request log. See command replay for its manual.
package replay
