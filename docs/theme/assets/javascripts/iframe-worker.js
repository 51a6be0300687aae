// Lets the search run on pages that are read from the disk, where browsers start no worker.
//
// The worker's script runs in a hidden frame instead, which answers in the same way. The name of this file tells
// the plugin `offline` that there is such a stand-in already, so that it does not load one from the network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe")
    #waiting = []
    #inside = null

    constructor(url) {
      super()
      const script = new URL(url, document.baseURI).href
      this.#frame.hidden = true
      this.#frame.srcdoc = "<!doctype html>"
      this.#frame.addEventListener("load", () => this.#start(script), { once: true })
      document.body.append(this.#frame)
    }

    postMessage(data) {
      if (this.#inside === null) this.#waiting.push(data)
      else this.#inside.dispatchEvent(new this.#inside.MessageEvent("message", { data }))
    }

    terminate() {
      this.#frame.remove()
    }

    #start(address) {
      const inside = this.#frame.contentWindow
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = inside.document.createElement("script")
      script.src = address
      script.addEventListener("load", () => {
        this.#inside = inside
        for (const data of this.#waiting.splice(0)) this.postMessage(data)
      })
      inside.document.head.append(script)
    }
  }
}
