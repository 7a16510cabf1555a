// Asks one question after the other with one SDK, set up as its users do it.
//   node ask.mjs SDK '{"url":…,"key":…,"ask":[{"text":…,"stream":bool},…]}'
// Prints a JSON list of the answers' texts.
import process from 'node:process'

const [, , sdk, given] = process.argv
const { url, key, ask } = JSON.parse(given)
const model = { chat: 'openai/gpt-5.5', claude: 'claude-opus-4.8', gemini: 'gemini-3.5-flash' }
const said = (text) => [{ role: 'user', content: text }]

const sdks = {
  async openai_chat() {
    const { default: OpenAI } = await import('openai')
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
    return async ({ text, stream }) => {
      const body = { model: model.chat, messages: said(text) }
      if (!stream) return (await client.chat.completions.create(body)).choices[0].message.content
      let answer = ''
      for await (const chunk of await client.chat.completions.create({ ...body, stream })) {
        answer += chunk.choices[0]?.delta?.content ?? ''
      }
      return answer
    }
  },
  async openai_responses() {
    const { default: OpenAI } = await import('openai')
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
    return async ({ text, stream }) => {
      const body = { model: model.chat, input: text }
      if (!stream) return (await client.responses.create(body)).output_text
      return (await client.responses.stream(body).finalResponse()).output_text
    }
  },
  async anthropic() {
    const { default: Anthropic } = await import('@anthropic-ai/sdk')
    const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 })
    return async ({ text, stream }) => {
      const body = { model: model.claude, max_tokens: 1024, messages: said(text) }
      if (stream) return await client.messages.stream(body).finalText()
      return (await client.messages.create(body)).content[0].text
    }
  },
  async genai() {
    const { GoogleGenAI } = await import('@google/genai')
    const client = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url } })
    return async ({ text, stream }) => {
      const request = { model: model.gemini, contents: text }
      if (!stream) return (await client.models.generateContent(request)).text
      let answer = ''
      for await (const part of await client.models.generateContentStream(request)) {
        answer += part.text ?? ''
      }
      return answer
    }
  },
  async vercel_chat() {
    return vercel((openai) => openai.chat(model.chat))
  },
  async vercel_responses() {
    return vercel((openai) => openai.responses(model.chat))
  },
}

async function vercel(choose) {
  const { generateText, streamText } = await import('ai')
  const { createOpenAI } = await import('@ai-sdk/openai')
  const chosen = choose(createOpenAI({ baseURL: `${url}/v1`, apiKey: key }))
  return async ({ text, stream }) => {
    const request = { model: chosen, prompt: text, maxRetries: 0 }
    if (!stream) return (await generateText(request)).text
    let answer = ''
    for await (const part of streamText(request).textStream) answer += part
    return answer
  }
}

const answer = await sdks[sdk]()
const answers = []
for (const question of ask) answers.push(await answer(question))
console.log(JSON.stringify(answers))
