"use strict";
// The page's own words. Texts of claims, kernels and programs stay as they were recorded.
const words = {
  en: {
    title: "IPVS conformance report", skip: "Skip to the claims", language: "Language", colours: "Colours", auto: "as the system",
    light: "light", dark: "dark", summary: "Summary", profiles: "Profiles", claims: "Claims",
    trust: "Why you can believe this", implementation: "Under test",
    kernel: "Kernel", started: "Started", duration: "Duration", run: "Run", selected: "Selected claims", again: "Run it again", tools: "Tools",
    supported: "Supported features", unsupported: "Unsupported features", faults: "Faults in the records", profile: "Profile",
    core: "Core", extended: "Extended", of: "of", seconds: "s", none: "none", holds: "holds", violated: "violated",
    broken: "broken", "not-supported": "not supported", "not-testable": "not testable", success: "success", partial: "partial",
    failure: "failure", absent: "not in this run", provisional: "provisional", right: "right", imprecise: "imprecise",
    wrong: "wrong", silent: "silent", search: "Text", chapter: "Chapter", verdict: "Verdict", feature: "Feature",
    article: "The article is", all: "all", learner: "Learner's edition: the article beside the kernel",
    different: "Only differences", shown: "claims shown", link: "Link to this claim", articleSays: "The article says",
    correct: "Correct", statement: "Statement", method: "Method", test: "Test", topology: "Topology", reason: "Reason",
    observed: "Observed", steps: "Steps", story: "Story of the packets", rules: "Rules that the first packet passed on",
    packetsAsText: "Packets as text", tables: "Tables of", captures: "Captures (pcap)", record: "Whole record (JSON)",
    commands: "See it yourself", more: "more in the record", rewrites: "rewrites", kernelDid: "What the kernel did",
    noPackets: "No packet was recorded.", erratum: "Erratum",
    unpackFailed: "The evidence in this page cannot be unpacked", labOnly: "in the lab's shell, after the steps",
  },
  zh: {
    title: "IPVS 一致性报告", skip: "跳到断言", language: "语言", colours: "配色", auto: "跟随系统", light: "浅色", dark: "深色", summary: "概要",
    profiles: "配置集", claims: "断言",
    trust: "为什么可以相信这些结果", implementation: "被测实现", kernel: "内核", started: "开始时间", duration: "用时", run: "运行", selected: "选中的断言",
    again: "重新运行", tools: "工具", supported: "支持的特性", unsupported: "不支持的特性", faults: "记录中的错误", profile: "配置集", core: "核心",
    extended: "扩展", of: "/", seconds: "秒", none: "无", holds: "成立", violated: "不成立", broken: "测试故障", "not-supported": "不支持",
    "not-testable": "无法测试", success: "成功", partial: "部分", failure: "失败", absent: "本次运行没有", provisional: "暂定", right: "正确",
    imprecise: "不准确", wrong: "错误", silent: "未提及", search: "文本", chapter: "章节", verdict: "结论", feature: "特性", article: "文章的说法",
    all: "全部", learner: "学习版：文章与内核对照", different: "只看差异", shown: "条断言", link: "此断言的链接", articleSays: "文章说", correct: "正确的说法",
    statement: "断言内容", method: "方法", test: "测试", topology: "拓扑", reason: "原因", observed: "观察结果", steps: "步骤", story: "数据包的经历",
    rules: "首个数据包经过的规则，节点", packetsAsText: "数据包（文字）", tables: "状态表，节点", captures: "抓包文件 (pcap)", record: "完整记录 (JSON)",
    commands: "亲自查看", more: "更多内容见记录", rewrites: "改写", kernelDid: "内核的实际行为",
    noPackets: "没有记录到数据包。", erratum: "勘误", unpackFailed: "无法解开本页中的证据", labOnly: "在实验环境的 shell 中，先执行上面的步骤",
  },
};
let language = "en";
const word = key => words[language][key] ?? key;

/** An element with attributes and children; children are elements or text, never HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat(Infinity).filter(c => c !== null && c !== undefined && c !== ""));
  return made;
}
