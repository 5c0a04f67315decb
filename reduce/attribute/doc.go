// Package attribute splits the energy of a run over its requests.
package attribute
