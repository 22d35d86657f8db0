package plc

import (
	"slices"

	"edgeagent"
)

// event is what happens to a device, as its machine sees it.
type event string

const (
	eventAnswered  event = "answered"
	eventSteady    event = "good for 60 s"
	eventFailed    event = "failed"
	eventExhausted event = "failed after the longest wait"
	eventRefused   event = "refused for good"
	eventResumed   event = "resumed by a person"
	eventMaintain  event = "taken out of service by a person"
	eventOver      event = "its time is over"

	eventOverBarred event = "its time is over, but it was refused for good"
)

// action is what the machine does on the way; device.go has one function each.
type action string

const (
	actionPoll   action = "poll; clear device_stopped if it stands"
	actionKeep   action = "keep polling"
	actionForget action = "forget the failures"
	actionWait   action = "count; mark the tags uncertain; wait"
	actionStop   action = "raise device_stopped; mark the tags bad; send nothing more"
	actionRest   action = "wait for the next probe"
	actionTry    action = "forget the failures; try at once"
	actionPause  action = "mark the tags bad; send nothing for so long"
	actionBar    action = "stay stopped: only a person resumes it"
)

type row struct {
	from edgeagent.DeviceState
	on   event
	to   edgeagent.DeviceState
	do   action
}

// table is the machine of a device. What is not in it does not happen: an
// event without a row leaves everything as it is.
var table = []row{
	{edgeagent.DeviceConnecting, eventAnswered, edgeagent.DevicePolling, actionPoll},
	{edgeagent.DeviceConnecting, eventFailed, edgeagent.DeviceRetrying, actionWait},
	{edgeagent.DeviceConnecting, eventExhausted, edgeagent.DeviceStopped, actionStop},
	{edgeagent.DeviceConnecting, eventRefused, edgeagent.DeviceStopped, actionStop},
	{edgeagent.DeviceConnecting, eventMaintain, edgeagent.DeviceMaintenance, actionPause},
	{edgeagent.DevicePolling, eventAnswered, edgeagent.DevicePolling, actionKeep},
	{edgeagent.DevicePolling, eventSteady, edgeagent.DevicePolling, actionForget},
	{edgeagent.DevicePolling, eventFailed, edgeagent.DeviceRetrying, actionWait},
	{edgeagent.DevicePolling, eventExhausted, edgeagent.DeviceStopped, actionStop},
	{edgeagent.DevicePolling, eventRefused, edgeagent.DeviceStopped, actionStop},
	{edgeagent.DevicePolling, eventMaintain, edgeagent.DeviceMaintenance, actionPause},
	{edgeagent.DeviceRetrying, eventAnswered, edgeagent.DevicePolling, actionPoll},
	{edgeagent.DeviceRetrying, eventFailed, edgeagent.DeviceRetrying, actionWait},
	{edgeagent.DeviceRetrying, eventExhausted, edgeagent.DeviceStopped, actionStop},
	{edgeagent.DeviceRetrying, eventRefused, edgeagent.DeviceStopped, actionStop},
	{edgeagent.DeviceRetrying, eventMaintain, edgeagent.DeviceMaintenance, actionPause},
	{edgeagent.DeviceStopped, eventAnswered, edgeagent.DevicePolling, actionPoll},
	{edgeagent.DeviceStopped, eventFailed, edgeagent.DeviceStopped, actionRest},
	{edgeagent.DeviceStopped, eventRefused, edgeagent.DeviceStopped, actionStop},
	{edgeagent.DeviceStopped, eventResumed, edgeagent.DeviceConnecting, actionTry},
	{edgeagent.DeviceStopped, eventMaintain, edgeagent.DeviceMaintenance, actionPause},
	{edgeagent.DeviceMaintenance, eventMaintain, edgeagent.DeviceMaintenance, actionPause},
	{edgeagent.DeviceMaintenance, eventResumed, edgeagent.DeviceConnecting, actionTry},
	{edgeagent.DeviceMaintenance, eventOver, edgeagent.DeviceConnecting, actionTry},
	{edgeagent.DeviceMaintenance, eventOverBarred, edgeagent.DeviceStopped, actionBar},
}

// Machine returns the table of a device, to be drawn.
func Machine() []edgeagent.Step {
	out := make([]edgeagent.Step, len(table))
	for i, r := range table {
		out[i] = edgeagent.Step{From: string(r.from), Event: string(r.on), To: string(r.to), Action: string(r.do)}
	}
	return out
}

func step(from edgeagent.DeviceState, on event) (row, bool) {
	i := slices.IndexFunc(table, func(r row) bool { return r.from == from && r.on == on })
	if i < 0 {
		return row{}, false
	}
	return table[i], true
}
