package topology

import (
	"fmt"
	"io"

	"wattrace/formats/strictyaml"
	"wattrace/reduce"
)

// Schema is the schema that this package reads and writes.
const Schema = "wattrace.topology/1"

// maxIndex bounds the numbers of GPUs of a host.
const maxIndex = 4095

// Read reads a whole topology. Errors of the file are *trace.SyntaxError with the
// position of what is wrong; name is the file's.
func Read(r io.Reader, name string) ([]reduce.Member, error) {
	f := file{File: strictyaml.File{Name: name, What: "a topology", Schema: Schema}, seen: map[identity]bool{}}
	var hosts, devices []strictyaml.Node
	body, err := f.Read(r, func(key string, value strictyaml.Node) (err error) {
		switch key {
		case "hosts":
			hosts, err = f.List(key, value)
		case "devices":
			devices, err = f.List(key, value)
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	for _, n := range hosts {
		if err == nil {
			err = f.host(n)
		}
	}
	for _, n := range devices {
		if err == nil {
			err = f.device(n)
		}
	}
	if err == nil && len(f.members) == 0 {
		err = f.Errorf(body, "the topology has no devices")
	}
	if err != nil {
		return nil, err
	}
	return f.members, nil
}

// identity is what tells a member from others.
type identity struct {
	host, device string
	index        int
}

// file is the file being read.
type file struct {
	strictyaml.File
	members []reduce.Member
	seen    map[identity]bool
}

// add adds a member, which stands at n.
func (f *file) add(n strictyaml.Node, m reduce.Member) error {
	id := identity{m.Host, m.Device, m.Index}
	if m.Device != "" {
		id = identity{device: m.Device}
	}
	if f.seen[id] {
		return f.Errorf(n, "%s is listed twice", describe(m))
	}
	f.seen[id] = true
	f.members = append(f.members, m)
	return nil
}

func describe(m reduce.Member) string {
	if m.Device != "" {
		return m.Device
	}
	return fmt.Sprintf("GPU %d of %s", m.Index, m.Host)
}

func (f *file) host(n strictyaml.Node) error {
	var common reduce.Member
	var gpus strictyaml.Node
	err := f.Object(n, "a host", func(key string, v strictyaml.Node) error {
		if key == "gpus" {
			gpus = v
			return nil
		}
		return f.shared(key, v, &common)
	})
	switch {
	case err != nil:
		return err
	case common.Host == "":
		return f.Errorf(n, "the host has no host: its name")
	case gpus == nil:
		return f.Errorf(n, "the host has no gpus: how many, or a list")
	}
	return f.gpus(gpus, common)
}

// shared reads a key that hosts and devices have.
func (f *file) shared(key string, v strictyaml.Node, m *reduce.Member) (err error) {
	switch key {
	case "host":
		m.Host, err = f.Text(key, v)
	case "role":
		m.Role, err = f.Text(key, v)
	case "worker":
		m.Worker, err = f.Text(key, v)
	default:
		return strictyaml.ErrUnknown
	}
	return err
}

// gpus adds the GPUs of a host: so many, or those of a list.
func (f *file) gpus(n strictyaml.Node, m reduce.Member) error {
	if strictyaml.IsWhole(n) {
		count, err := f.Whole("gpus", n, 1, maxIndex+1)
		for i := 0; i < int(count) && err == nil; i++ {
			m.Index = i
			err = f.add(n, m)
		}
		return err
	}
	nodes, err := f.List("gpus", n)
	if err == nil && len(nodes) == 0 {
		err = f.Errorf(n, "gpus is empty")
	}
	for _, n := range nodes {
		one := m
		if err == nil && strictyaml.IsWhole(n) {
			var index int64
			index, err = f.Whole("an index", n, 0, maxIndex)
			one.Index = int(index)
		} else if err == nil {
			one.Device, err = f.Text("a GPU", n)
		}
		if err == nil {
			err = f.add(n, one)
		}
	}
	return err
}

func (f *file) device(n strictyaml.Node) error {
	var m reduce.Member
	indexed := false
	err := f.Object(n, "a device", func(key string, v strictyaml.Node) (err error) {
		switch key {
		case "device":
			m.Device, err = f.Text(key, v)
		case "index":
			var index int64
			index, err = f.Whole(key, v, 0, maxIndex)
			m.Index, indexed = int(index), true
		default:
			return f.shared(key, v, &m)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case m.Device == "" && !indexed:
		return f.Errorf(n, "the device has neither device nor index")
	case m.Device != "" && indexed:
		return f.Errorf(n, "the device has both device and index")
	case m.Device == "" && m.Host == "":
		return f.Errorf(n, "an index needs a host")
	}
	return f.add(n, m)
}

// Write writes members as a file, each on its own.
func Write(w io.Writer, members []reduce.Member) error {
	b := []byte("schema: " + Schema + "\ndevices:\n")
	for _, m := range members {
		lead := "  - "
		add := func(key, value string) {
			b = fmt.Appendf(b, "%s%s: %s\n", lead, key, value)
			lead = "    "
		}
		for _, text := range []struct{ key, value string }{{"device", m.Device}, {"host", m.Host}, {"role", m.Role}, {"worker", m.Worker}} {
			if text.value != "" {
				add(text.key, strictyaml.Quote(text.value))
			}
		}
		if m.Device == "" {
			add("index", fmt.Sprint(m.Index))
		}
	}
	_, err := w.Write(b)
	return err
}
