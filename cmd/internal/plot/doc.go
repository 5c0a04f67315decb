// Package plot is the tool plot: it opens inputs as reduce does, and writes what package
// page makes of their report. The manual is that of cmd/plot.
package plot
