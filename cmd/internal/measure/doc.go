// Package measure is the tool measure: one command for a whole experiment, which
// starts the server and the tools that record, load and reduce.
package measure
