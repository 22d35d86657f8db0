package opcua

// Fingerprint returns the SHA-256 of the certificate in a file, as hex, to be
// held against what a server shows; see [Describe].
func Fingerprint(file string) (string, error) {
	c, err := readCertificate(file)
	if err != nil {
		return "", err
	}
	return sum(c.leaf.Raw), nil
}
