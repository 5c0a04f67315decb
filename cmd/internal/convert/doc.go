// Package convert is the convert tool: it opens an input, finds out what it is,
// and writes it as another format; recordings it seals. The formats are in
// wattrace/formats; what a request body must say to which server is here.
package convert
