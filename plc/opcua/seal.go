package opcua

import (
	"encoding/binary"
	"errors"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"
)

// errForged is all that is said of a chunk that fails a check of its security.
var errForged = errors.New("a chunk fails the channel's security checks")

// seal finishes a chunk (OPC UA Part 6, 6.7.2): its first head bytes stay
// readable, what follows is padded and encrypted if asked for, all is signed.
// A nil alg is the policy None.
func seal(chunk []byte, head int, alg *uapolicy.EncryptionAlgorithm, encrypt bool) ([]byte, error) {
	if alg == nil {
		binary.LittleEndian.PutUint32(chunk[4:], uint32(len(chunk)))
		return chunk, nil
	}
	size := len(chunk) + alg.SignatureLength()
	if encrypt {
		chunk = pad(chunk, head, alg)
		size = head + (len(chunk)-head+alg.SignatureLength())/alg.PlaintextBlockSize()*alg.BlockSize()
	}
	binary.LittleEndian.PutUint32(chunk[4:], uint32(size))
	signature, err := alg.Signature(chunk)
	if err != nil {
		return nil, err
	}
	chunk = append(chunk, signature...)
	if !encrypt {
		return chunk, nil
	}
	secret, err := alg.Encrypt(chunk[head:])
	if err != nil {
		return nil, err
	}
	return append(chunk[:head:head], secret...), nil
}

// pad fills the plain text to whole blocks: the padding's size, so many bytes
// of that value, and the size's high byte where the key has over 2048 bits.
func pad(chunk []byte, head int, alg *uapolicy.EncryptionAlgorithm) []byte {
	block, sizes := alg.PlaintextBlockSize(), 1
	if alg.RemoteSignatureLength() > 256 {
		sizes = 2
	}
	n := -(len(chunk) - head + alg.SignatureLength() + sizes) % block
	if n < 0 {
		n += block
	}
	for range n + 1 {
		chunk = append(chunk, byte(n))
	}
	if sizes == 2 {
		chunk = append(chunk, byte(n>>8))
	}
	return chunk
}

// unseal checks a chunk and returns what it says behind its first head bytes.
// Every length in it is the sender's and believed only as far as there are bytes.
func unseal(chunk []byte, head int, alg *uapolicy.EncryptionAlgorithm, encrypted bool) ([]byte, error) {
	if alg == nil {
		return chunk[head:], nil
	}
	plain := chunk
	if encrypted {
		secret := chunk[head:]
		text, err := alg.Decrypt(secret)
		if err != nil {
			return nil, errForged
		}
		plain = append(chunk[:head:head], text...)
	}
	signed := len(plain) - alg.RemoteSignatureLength()
	if signed <= head || alg.VerifySignature(plain[:signed], plain[signed:]) != nil {
		return nil, errForged
	}
	if !encrypted {
		return plain[head:signed], nil
	}
	return unpad(plain[head:signed], alg)
}

func unpad(text []byte, alg *uapolicy.EncryptionAlgorithm) ([]byte, error) {
	n := int(text[len(text)-1])
	extra := 1
	if alg.SignatureLength() > 256 {
		if len(text) < 2 {
			return nil, errForged
		}
		n, extra = n<<8|int(text[len(text)-2]), 2
	}
	if n+extra > len(text) {
		return nil, errForged
	}
	return text[:len(text)-n-extra], nil
}

// room returns how many bytes of a message fit into a chunk of the given size,
// behind a header of head bytes and the sequence header.
func room(size, head int, alg *uapolicy.EncryptionAlgorithm, encrypt bool) int {
	switch {
	case alg == nil:
		return size - head - sequenceHeader
	case !encrypt:
		return size - head - sequenceHeader - alg.SignatureLength()
	default:
		return (size-head)/alg.BlockSize()*alg.PlaintextBlockSize() - sequenceHeader - alg.SignatureLength() - 1
	}
}

// asymmetric are the algorithms of a channel's opening, nil for None.
func asymmetric(policy string, own *identity, server *certificate) (*uapolicy.EncryptionAlgorithm, error) {
	if policy == ua.SecurityPolicyURINone {
		return nil, nil
	}
	return uapolicy.Asymmetric(policy, own.privateKey, server.key)
}
