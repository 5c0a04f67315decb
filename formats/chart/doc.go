// Package chart draws figures as SVG 1.1: panels above each other that share a horizontal
// axis, with lines, bands of time, points with error bars and labels.
//
// What is drawn has presentation attributes, for papers and converters that know no style
// sheet, and classes beside them (axis, grid, text, band, s0 to s7, ...), by which a page
// may colour it anew. Fonts are generic. Every text is escaped; characters that XML 1.0
// does not have are shown as U+FFFD, and what is very long is cut.
package chart
