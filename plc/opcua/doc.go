// Package opcua reads OPC UA servers: plc.Subscriber over a secure channel and
// session of its own.
//
// Of gopcua it takes the codec (ua) and the cryptography (uapolicy), and not
// the client: that one believes the certificate, the policy and the buffer
// sizes that whoever answers names, and a variant with a negative length ends
// the process. Here nothing is decoded before its shape was checked
// (wellformed.go), nothing secret is sent before the channel proved that it
// ends at the pinned certificate (channel.go), and one table names the requests
// that can be sent at all (calls.go). None of them writes.
//
// [New] makes the client of one device. [Browse] and [Describe] serve
// commissioning; [EnsureCertificate] makes the agent's own certificate. Nothing
// is kept on disk but that certificate and its key.
package opcua
