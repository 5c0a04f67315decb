// Package monitor is the tool monitor: it shows what record reads while it reads it, in a
// terminal, on a page, and to programs.
package monitor
