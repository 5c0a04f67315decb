// Package selftest measures the load generator of package replay itself, against
// a server that tells when it sent each event. [Serve] is that server; it is to
// run in a process of its own, so that neither waits for the other's garbage
// collector or scheduler. [Client] measures, and [Report] is what it found.
package selftest
