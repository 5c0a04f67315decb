// Package sample holds the vocabulary of telemetry: what a device is, what a
// sensor covers, which metrics there are and in which units, and the batch of
// readings that is the only thing to pass between sources, files and reduce.
// It also holds the loop that reads sources on time. It knows nothing of NVML
// or of files.
package sample
