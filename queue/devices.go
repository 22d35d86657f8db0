package queue

import (
	"context"

	"edgeagent"
)

// SaveDevice stores what a device must not forget over a restart.
func (db *DB) SaveDevice(ctx context.Context, m edgeagent.DeviceMemory) error {
	return db.do(ctx, "save device "+m.Device, func(b *batch) error {
		if err := b.putJSON(bucketMeta, prefixDev+m.Device, 0, m); err != nil {
			return err
		}
		set(b, b.w.devices, m.Device, m)
		b.devicesChanged = true
		return nil
	})
}

// LoadDevice returns what was saved last for a device, and whether anything was.
func (db *DB) LoadDevice(name string) (edgeagent.DeviceMemory, bool) {
	m, ok := db.view.Load().devices[name]
	return m, ok
}
