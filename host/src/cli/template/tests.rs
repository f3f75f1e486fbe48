//! What Go's library and the Docker command line make of these templates.

use serde_json::{Value, json};

use super::*;

fn data() -> Value {
    json!({
        "Id": "abc", "Name": "/web", "Count": 3, "Ratio": 0.5, "Up": true, "Nothing": null, "Mounts": null, "Empty": "",
        "State": {"Status": "running", "Pid": 42},
        "Env": ["A=1", "B=2"],
        "Labels": {"z": "last", "a.b": "first"},
    })
}

fn render(template: &str) -> String {
    Template::parse(template).unwrap().render(&data()).unwrap()
}

fn fails(template: &str) -> String {
    match Template::parse(template).and_then(|parsed| parsed.render(&data())) {
        Ok(text) => panic!("{template} gives {text:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn fields_are_found_by_their_json_or_their_go_name() {
    assert_eq!(render("{{.Id}} {{.ID}} {{.State.Status}} {{$.State.Pid}}"), "abc abc running 42");
}

#[test]
fn values_look_as_go_prints_them() {
    assert_eq!(
        render("{{.Env}} {{.Labels}} {{.Up}} {{.Ratio}} {{.Nothing}}"),
        "[A=1 B=2] map[a.b:first z:last] true 0.5 <nil>"
    );
}

#[test]
fn fields_that_are_null_look_as_their_go_type_does() {
    let data = json!({"Cmd": null, "Volumes": null, "Health": null});
    let text = Template::parse("{{.Cmd}} {{.Volumes}} {{.Health}} {{json .Cmd}}").unwrap().render(&data);
    assert_eq!(text.unwrap(), "[] map[] <nil> null");
}

#[test]
fn pipelines_feed_the_last_argument() {
    assert_eq!(render(r#"{{.Name | printf "%s-%s" "x" | upper}}"#), "X-/WEB");
    assert_eq!(render(r#"{{index .Labels "a.b"}}{{index .Labels "none"}}{{index .Env 1}}"#), "firstB=2");
    assert_eq!(render(r#"{{(index .Env 0) | len}} {{len .Labels}}"#), "3 2");
}

#[test]
fn dockers_functions_work() {
    assert_eq!(render("{{json .Labels}}"), r#"{"z":"last","a.b":"first"}"#);
    assert_eq!(render(r#"{{join .Env ", "}} {{split "a:b" ":"}}"#), "A=1, B=2 [a b]");
    assert_eq!(
        render(r#"{{title "an old dog"}} {{lower "AB"}} {{pad "x" 1 2}}|{{pad "" 1 2}}|"#),
        "An Old Dog ab  x  ||"
    );
    assert_eq!(render(r#"{{truncate .Name 2}}{{truncate "é" 1}}{{println "x" 1}}"#), "/w\u{fffd}x 1\n");
}

#[test]
fn branches_and_loops() {
    assert_eq!(render("{{if .Up}}yes{{else}}no{{end}}"), "yes");
    assert_eq!(render("{{if .Empty}}1{{else if eq .Count 3}}2{{else}}3{{end}}"), "2");
    assert_eq!(render("{{with .State}}{{.Status}}{{end}}{{with .Empty}}x{{else}}none{{end}}"), "runningnone");
    assert_eq!(render("{{range .Env}}<{{.}}>{{end}}{{range .Mounts}}{{else}}-{{end}}"), "<A=1><B=2>-");
    assert_eq!(render("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}"), "a.b=first;z=last;");
    assert_eq!(render("{{range $i, $e := .Env}}{{if $i}}, {{end}}{{$e}}{{end}}"), "A=1, B=2");
    assert_eq!(
        render("{{range 4}}{{if eq . 1}}{{continue}}{{end}}{{if gt . 2}}{{break}}{{end}}{{.}}{{end}}"),
        "02"
    );
    assert_eq!(render("{{$x := 1}}{{range .Env}}{{$x = 2}}{{end}}{{$x}}"), "2");
}

#[test]
fn white_space_is_trimmed_where_asked() {
    assert_eq!(render("a  {{- .Count -}}  b {{/* nothing */}}c{{- /* x */ -}} d"), "a3b cd");
    assert_eq!(render("{{if .Up}}\n  x\n{{- end}}"), "\n  x");
}

#[test]
fn logic_stops_as_soon_as_it_knows() {
    assert_eq!(render("{{or .Empty .Name}} {{and .Up .Count}} {{not .Up}}"), "/web 3 false");
    assert_eq!(render("{{and .Nothing .Nothing.Deep}}"), "<nil>");
    assert_eq!(render("{{if and (ne .Count 2) (lt .Count 4) (ge .Count 3)}}in{{end}}"), "in");
    assert_eq!(render(r#"{{eq .Name "a" "/web"}}"#), "true");
}

#[test]
fn printf_has_gos_verbs_and_gos_complaints() {
    assert_eq!(
        render(r#"{{printf "%-5s|%5s|%05d|%x|%q|%.2f|%t|%v|%%" "ab" "cd" 42 255 "q" .Ratio .Up .Env}}"#),
        "ab   |   cd|00042|ff|\"q\"|0.50|true|[A=1 B=2]|%"
    );
    assert_eq!(render(r#"{{printf "%d %s" "x"}}"#), "%!d(string=x) %!s(MISSING)");
    assert_eq!(render(r#"{{printf "a" 1}}"#), "a%!(EXTRA int=1)");
}

#[test]
fn a_header_keeps_its_name_whatever_the_function() {
    let template = Template::parse(r#"{{upper .A}} {{json .A}} {{join .A ","}} {{pad .A 1 1}}"#).unwrap();
    let text = template.render_with(&json!({"A": "NaMe"}), &|_, _| None, Mode::Header).unwrap();
    assert_eq!(text, "NaMe NaMe NaMe  NaMe ");
}

#[test]
fn methods_belong_to_the_value_the_template_is_applied_to() {
    let template = Template::parse(r#"{{.Label "x"}}{{range .L}}{{.}}{{end}}"#).unwrap();
    let label =
        |name: &str, arguments: &[Value]| (name == "Label").then(|| format!("<{}>", arguments[0]).into());
    assert_eq!(template.render_with(&json!({"L": [1]}), &label, Mode::Data).unwrap(), "<\"x\">1");
}

#[test]
fn mistakes_are_told_in_gos_words() {
    assert_eq!(
        fails("{{.Foo}}"),
        "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""
    );
    assert_eq!(fails("{{nope}}"), "template: :1: function \"nope\" not defined");
    assert_eq!(fails("\n{{.Id"), "template: :2: unclosed action");
    assert_eq!(fails("{{if .Id}}x"), "template: :1: unexpected EOF");
    assert_eq!(fails("{{end}}"), "template: :1: unexpected {{end}}");
    assert_eq!(fails("{{}}"), "template: :1: missing value for command");
    assert_eq!(fails("{{break}}"), "template: :1: {{break}} outside {{range}}");
    assert!(fails("{{.Count.X}}").contains("can't evaluate field X in type int"));
    assert!(fails("{{eq .Name 1}}").contains("incompatible types for comparison"));
    assert!(fails("{{index .Env 7}}").contains("index out of range: 7"));
    assert!(fails("{{$x}}").contains("undefined variable \"$x\""));
}

#[test]
fn what_has_no_elements_is_nothing_to_loop_over() {
    assert!(fails("{{range .Nothing}}{{end}}").ends_with("at <.Nothing>: range can't iterate over <nil>"));
}

#[test]
fn mistakes_are_found_in_gos_order_and_variables_before_anything_runs() {
    assert_eq!(fails("{{'ab'}}"), "template: :1: malformed character constant: 'ab'");
    assert_eq!(fails("{{/* a */ }}"), "template: :1: comment ends before closing delimiter");
    assert_eq!(fails("{{/* a"), "template: :1: unclosed comment");
    assert_eq!(fails("{{nil}}"), "template: :1:2: executing \"\" at <nil>: nil is not a command");
    assert_eq!(fails("{{nope .Id}}{{@}}"), "template: :1: function \"nope\" not defined");
    assert_eq!(fails("{{if .Id}}{{$x := 1}}{{end}}{{$x}}"), "template: :1: undefined variable \"$x\"");
    assert_eq!(fails("{{.Id\n"), "template: :2: unclosed action started at :1");
    assert_eq!(fails("{{.id}}"), "template: :1:2: executing \"\" at <.id>: map has no entry for key \"id\"");
}

#[test]
fn mentioned_fields_are_found_wherever_they_stand() {
    let mentions = |text| Template::parse(text).unwrap().mentions("Size");
    assert!(mentions("{{range .A}}{{if (len .Size)}}{{end}}{{end}}"));
    assert!(mentions("{{with .X}}{{else}}{{.Size}}{{end}}"));
    assert!(!mentions("{{.Sizes}} Size {{\"Size\"}}"));
}

mod fuzz {
    use super::*;

    #[test]
    fn no_template_crashes_or_runs_for_ever() {
        bolero::check!().with_type::<String>().for_each(|text| {
            // Wrapped too, because random text rarely opens an action by itself.
            for template in [
                text.clone(),
                format!("{{{{{text}}}}}"),
                format!("{{{{range .Env}}}}{{{{{text}}}}}{{{{end}}}}"),
            ] {
                if let Ok(parsed) = Template::parse(&template) {
                    let _ = parsed.render(&data());
                }
            }
        });
    }
}
