package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"quickstart/webhook"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var file struct {
		Vectors []struct {
			Headers map[string]string
			Body    string
			Secrets []string
			Now     int64
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		panic(err)
	}
	for _, v := range file.Vectors {
		headers := http.Header{}
		for name, value := range v.Headers {
			headers.Set(name, value)
		}
		fmt.Println(webhook.Verify([]byte(v.Body), headers, v.Secrets, time.Unix(v.Now, 0)))
	}
}
