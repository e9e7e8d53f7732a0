// Answers verification vectors with the verifier of Go's standard library.
//
//	go run test/interop/vectors.go <folder of isthmus trust vectors>
//
// Prints one line per vector: <name> TAB accept|reject TAB <why>.
package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

type index struct {
	Vectors []struct {
		Name, Chain, Anchors string
	}
}

func read(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return certificates, nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
}

func verify(chainPath, anchorsPath string) error {
	chain, err := read(chainPath)
	if err != nil {
		return err
	}
	anchors, err := read(anchorsPath)
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, anchor := range anchors {
		options.Roots.AddCert(anchor)
	}
	for _, certificate := range chain[1:] {
		options.Intermediates.AddCert(certificate)
	}
	_, err = chain[0].Verify(options)
	return err
}

func main() {
	dir := os.Args[1]
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		panic(err)
	}
	var all index
	if err := json.Unmarshal(text, &all); err != nil {
		panic(err)
	}
	for _, vector := range all.Vectors {
		answer, why := "accept", ""
		if err := verify(filepath.Join(dir, vector.Chain), filepath.Join(dir, vector.Anchors)); err != nil {
			answer, why = "reject", strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Printf("%s\t%s\t%s\n", vector.Name, answer, why)
	}
}
