// Package sibling finds the other tools of wattrace and runs programs: what measure and
// monitor need to start record, replay, reduce and a server, and to end them again.
package sibling
