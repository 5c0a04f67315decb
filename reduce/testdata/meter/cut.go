//go:build ignore

// Cut makes the files of this directory from the recordings that its README
// names:
//
//	go run cut.go RECORDINGS
//
// where RECORDINGS/<name>/ has nvidia-smi.csv and meter.csv.gz.
package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

func main() {
	for _, name := range []string{"rtx3090-step", "a5000-step", "rtx3090-5050"} {
		in, err := os.Open(filepath.Join(os.Args[1], name, "nvidia-smi.csv"))
		check(err)
		write(name+".nvidia-smi.csv.gz", func(w io.Writer) {
			_, err := io.Copy(w, in)
			check(err)
		})
		at, joules := meter(filepath.Join(os.Args[1], name, "meter.csv.gz"))
		write(name+".meter.csv.gz", func(w io.Writer) { means(w, at, joules) })
	}
}

// meter returns the times of a meter's readings and the energy up to each, its
// power being linear between them.
func meter(path string) (at, joules []float64) {
	f, err := os.Open(path)
	check(err)
	z, err := gzip.NewReader(f)
	check(err)
	lines := bufio.NewScanner(z)
	lines.Scan() // the header
	var last float64
	for lines.Scan() {
		a, b, _ := strings.Cut(lines.Text(), ",")
		t, err := strconv.ParseFloat(a, 64)
		check(err)
		watts, err := strconv.ParseFloat(b, 64)
		check(err)
		e := 0.0
		if n := len(at); n > 0 {
			e = joules[n-1] + (last+watts)/2*(t-at[n-1])
		}
		at, joules, last = append(at, t), append(joules, e), watts
	}
	check(lines.Err())
	return at, joules
}

// means writes the mean power of each hundredth of a second.
func means(w io.Writer, at, joules []float64) {
	energy := func(t float64) float64 {
		i := sort.SearchFloat64s(at, t)
		return joules[i-1] + (t-at[i-1])/(at[i]-at[i-1])*(joules[i]-joules[i-1])
	}
	fmt.Fprintln(w, "from_unix_seconds,mean_power_watts")
	for i := int(at[0]*100) + 1; float64(i+1)/100 < at[len(at)-1]; i++ {
		fmt.Fprintf(w, "%.2f,%.3f\n", float64(i)/100, (energy(float64(i+1)/100)-energy(float64(i)/100))*100)
	}
}

func write(name string, content func(io.Writer)) {
	f, err := os.Create(name)
	check(err)
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	check(err)
	content(z)
	check(z.Close())
	check(f.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
