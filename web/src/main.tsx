// Where the page begins.
import { render } from "preact";
import { App } from "./app";
import { startRouter } from "./router";
import "uplot/dist/uPlot.min.css";
import "./style/base.css";
import "./style/wall.css";
import "./style/views.css";

startRouter();
render(<App />, document.getElementById("app")!);
