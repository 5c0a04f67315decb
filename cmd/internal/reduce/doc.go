// Package reduce is the reduce tool: it opens request logs and recordings,
// moves them onto one clock, and has package reduce compute the report. The
// arithmetic is not here.
package reduce
