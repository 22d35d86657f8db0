package queue

import (
	"testing"
	"testing/fstest"
)

func machine(files map[string]string) Hardware {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return readHardware(root)
}

const (
	eth0 = "sys/class/net/eth0/"
	veth = "sys/class/net/veth0/"
)

// pi is what a gateway says of itself; each test changes some of it.
func pi(change map[string]string) Hardware {
	files := map[string]string{
		"etc/machine-id":                 "0123456789abcdef\n",
		"proc/device-tree/serial-number": "100000003d1d1c36\x00",
		eth0 + "address":                 "dc:a6:32:00:00:01\n", eth0 + "addr_assign_type": "0\n", eth0 + "device/uevent": "",
		veth + "address": "02:42:00:00:00:01\n", veth + "addr_assign_type": "3\n",
	}
	for name, text := range change {
		if files[name] = text; text == "" {
			delete(files, name)
		}
	}
	return machine(files)
}

func TestWhichMachineIsAnother(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		moved  bool
	}{
		"the same":                       {nil, false},
		"a card in another board":        {map[string]string{"proc/device-tree/serial-number": "10000000aaaaaaaa\x00", eth0 + "address": "dc:a6:32:00:00:02"}, true},
		"another installation":           {map[string]string{"etc/machine-id": "fedcba9876543210"}, true},
		"a container's end that changes": {map[string]string{veth + "address": "02:42:00:00:00:99"}, false},
		"another network card":           {map[string]string{eth0 + "address": "dc:a6:32:00:00:02"}, false},
		"nothing can be read":            {map[string]string{"etc/machine-id": "", "proc/device-tree/serial-number": "", eth0 + "address": ""}, false},
	} {
		if got := pi(nil).moved(pi(c.change)); got != c.moved {
			t.Errorf("%s: moved = %t, want %t", name, got, c.moved)
		}
	}
}

func TestWithoutASerialNumberTheInterfacesTell(t *testing.T) {
	const board = "proc/device-tree/serial-number"
	was := pi(map[string]string{board: ""})
	if now := pi(map[string]string{board: "", eth0 + "address": "dc:a6:32:00:00:02"}); !was.moved(now) {
		t.Error("a machine with other interfaces counts as the same")
	}
	if placeholder := pi(map[string]string{board: "0000000000000000\x00"}); placeholder.Board != "" {
		t.Error("a serial number of zeros counts as one")
	}
}

func TestNothingOfAMachineIsStoredAsItIs(t *testing.T) {
	h := pi(nil)
	if h.Machine == "" || h.Board == "" || len(h.Links) != 1 || h.Machine == "0123456789abcdef" {
		t.Errorf("hardware = %+v", h)
	}
}

func TestWhatCannotBeReadNowStays(t *testing.T) {
	if got := pi(nil).merged(Hardware{}); !got.equal(pi(nil)) {
		t.Errorf("merged = %+v", got)
	}
}
