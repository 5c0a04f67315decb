package telemetry

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

// cappedAllocator is Go's allocator with a limit on what is held at once. It
// panics beyond it, which arrow/go turns into an error.
type cappedAllocator struct {
	memory.GoAllocator
	limit, held int
}

var _ memory.Allocator = (*cappedAllocator)(nil)

func (a *cappedAllocator) take(size int) {
	if size > a.limit-a.held {
		panic(fmt.Errorf("the batch needs more than %d bytes", a.limit))
	}
	a.held += size
}

// Allocate implements memory.Allocator.
func (a *cappedAllocator) Allocate(size int) []byte {
	a.take(size)
	return a.GoAllocator.Allocate(size)
}

// Reallocate implements memory.Allocator.
func (a *cappedAllocator) Reallocate(size int, b []byte) []byte {
	a.take(size - len(b))
	return a.GoAllocator.Reallocate(size, b)
}

// Free implements memory.Allocator.
func (a *cappedAllocator) Free(b []byte) { a.held -= len(b) }
