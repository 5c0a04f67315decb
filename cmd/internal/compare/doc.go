// Package compare is the compare tool: it reads reports, puts them into groups, and has
// package wattrace/reduce/compare compare them. The arithmetic is not here.
package compare
