// Renders a chart as `helm template` does, where there is no Helm: Go's templates with sprig's functions, which are Helm's, and the few
// of its own that charts here use.
//
//	render RELEASE CHART [-f VALUES]
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type object = map[string]interface{}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 && (len(os.Args) != 5 || os.Args[3] != "-f") {
		log.Fatal("usage: render RELEASE CHART [-f VALUES]")
	}
	release, chart := os.Args[1], os.Args[2]
	values := read(filepath.Join(chart, "values.yaml"))
	if len(os.Args) == 5 {
		overlay(values, read(os.Args[4]))
	}
	described := read(filepath.Join(chart, "Chart.yaml"))
	dot := object{
		"Values":  values,
		"Release": object{"Name": release, "Namespace": "default", "Service": "Helm", "Revision": 1, "IsInstall": true},
		"Chart":   object{"Name": described["name"], "Version": described["version"], "AppVersion": described["appVersion"]},
		"Files":   files(chart),
	}
	templates := parse(filepath.Join(chart, "templates"))
	for _, each := range templates.Templates() {
		if filepath.Ext(each.Name()) != ".yaml" {
			continue
		}
		var text bytes.Buffer
		if err := each.Execute(&text, dot); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("---\n# Source: %s\n%s\n", each.Name(), text.String())
	}
}

// A file of YAML as Helm sees it: by way of JSON, so that numbers are floating.
func read(path string) object {
	var loose, found object
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, &loose)
	}
	if err == nil {
		text, err = json.Marshal(loose)
	}
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil {
		log.Fatalf("%s: %v", path, err)
	}
	return found
}

// Objects are merged, everything else is replaced.
func overlay(values, over object) {
	for name, value := range over {
		below, isBelow := values[name].(object)
		above, isAbove := value.(object)
		if isBelow && isAbove {
			overlay(below, above)
		} else {
			values[name] = value
		}
	}
}

type files string

func (folder files) Get(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(string(folder), name))
	return string(text), err
}

func parse(folder string) *template.Template {
	root := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["include"] = func(name string, dot interface{}) (string, error) {
		var text strings.Builder
		err := root.ExecuteTemplate(&text, name, dot)
		return text.String(), err
	}
	functions["toYaml"] = func(value interface{}) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	root.Funcs(functions)
	names, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(names) == 0 {
		log.Fatalf("%s: no templates: %v", folder, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil {
			_, err = root.New(filepath.Base(name)).Parse(string(text))
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	return root
}
